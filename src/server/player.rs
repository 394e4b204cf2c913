//! Audio from files and URLs, fetched and decoded for [`crate::media::player`].
//!
//! A URL comes from whoever configures an agent or uses the API, and the server that fetches it stands inside a network
//! that they may not reach. So an address is looked up first and refused unless it is public or allowed by name, the
//! connection goes to that very address, redirects are not followed, and size and time are bounded. Files are taken from
//! one directory only. WAV (PCM of 8 to 32 bits, float) and MP3 are told by their content, never by a name or header.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::{Client, Response, Url, redirect};
use rtrb::Consumer;

use crate::codec::{Clip, ClipRate, Frame, SampleRate};
use crate::limits::{CLIP_BYTES_MAX, CLIP_FETCH_MAX, STREAM_HEAD_BYTES, STREAM_PATIENCE};
use crate::media::audio_file::{self, Kind, NotPlayable, kind};
use crate::server::audio_stream::AudioStream;
use crate::server::clock;

/// What may be fetched.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Where files are taken from; `None` takes none.
    pub directory: Option<PathBuf>,
    /// Networks that are not public and may be fetched from all the same.
    pub allowed: Vec<IpNet>,
    /// Whether `http` will do. Addresses in [`Sources::allowed`] may always be fetched from by `http`.
    pub allow_http: bool,
    /// How long a fetch may take, from the look-up to the last byte.
    pub time_max: Duration,
    /// How large what is fetched may be.
    pub bytes_max: usize,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            directory: None,
            allowed: vec![],
            allow_http: false,
            time_max: CLIP_FETCH_MAX,
            bytes_max: CLIP_BYTES_MAX,
        }
    }
}

/// Why something cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is neither a URL of a kind that is fetched nor a file of the directory.
    #[error("not an https URL, nor a file of the directory for audio")]
    NotAllowed,
    /// The name leads to an address that only this server can reach.
    #[error("{0} is not a public address")]
    NotPublic(IpAddr),
    /// The name leads nowhere.
    #[error("the host's name cannot be resolved")]
    NoAddress,
    /// It took too long.
    #[error("it took longer than {0:?}")]
    TooSlow(Duration),
    /// It is too large.
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    /// The server answered otherwise.
    #[error("the server answered {0}")]
    Status(u16),
    /// It is neither WAV nor MP3.
    #[error("it is neither WAV nor MP3")]
    NotAudio,
    /// It begins as WAV or MP3 and cannot be decoded.
    #[error("it cannot be decoded: {0}")]
    Damaged(String),
    /// At this rate.
    #[error(transparent)]
    Rate(#[from] ClipRate),
    /// The connection.
    #[error("it cannot be fetched: {0}")]
    Http(String),
    /// The file.
    #[error("it cannot be read: {0}")]
    File(#[from] io::Error),
}

/// What was named.
#[derive(Debug)]
pub enum Opened {
    /// It is there.
    Clip(Clip),
    /// It comes while it is played, if somebody runs this.
    Stream(Box<AudioStream>, Consumer<Frame>),
}

impl From<NotPlayable> for FetchError {
    fn from(error: NotPlayable) -> Self {
        match error {
            NotPlayable::NotAudio => Self::NotAudio,
            NotPlayable::Damaged(reason) => Self::Damaged(reason),
            NotPlayable::Rate(rate) => Self::Rate(rate),
        }
    }
}

impl Sources {
    /// Fetches and decodes what `written` names, an `https` URL or the path of a file in the directory, for a leg of
    /// `rate`.
    ///
    /// # Errors
    ///
    /// [`FetchError`], whose words may be shown to whoever named it.
    pub async fn clip(&self, written: &str, rate: SampleRate) -> Result<Clip, FetchError> {
        let bytes = if written.contains("://") {
            let url = Url::parse(written).or(Err(FetchError::NotAllowed))?;
            tokio::time::timeout(self.time_max, self.fetch(url))
                .await
                .unwrap_or(Err(FetchError::TooSlow(self.time_max)))?
        } else {
            let path = self.file(written)?;
            let bytes_max = self.bytes_max;
            let read = tokio::task::spawn_blocking(move || read(&path, bytes_max)).await;
            read.map_err(|error| FetchError::Damaged(error.to_string()))??
        };
        decode_beside(bytes, rate).await
    }

    /// The same of a file, at once.
    ///
    /// # Errors
    ///
    /// [`FetchError`]; of a URL always.
    pub fn clip_of_file(&self, written: &str, rate: SampleRate) -> Result<Clip, FetchError> {
        decode(&read(&self.file(written)?, self.bytes_max)?, rate)
    }

    /// Where a file is. Only names below the directory, and only files that are there without a detour.
    ///
    /// # Errors
    ///
    /// [`FetchError::NotAllowed`], or that it is not there.
    pub fn file(&self, written: &str) -> Result<PathBuf, FetchError> {
        let directory = self.directory.as_ref().ok_or(FetchError::NotAllowed)?;
        let relative = Path::new(written);
        if written.contains('\0') || !relative.components().all(|it| matches!(it, Component::Normal(_))) {
            return Err(FetchError::NotAllowed);
        }
        // A link inside may lead outside.
        let (directory, path) = (directory.canonicalize()?, directory.join(relative).canonicalize()?);
        if path.starts_with(&directory) { Ok(path) } else { Err(FetchError::NotAllowed) }
    }

    /// The same for whoever can also play what comes bit by bit: an MP3 whose server does not say how long it is, and which
    /// is not there as a whole after [`STREAM_PATIENCE`], if `may_stream`.
    ///
    /// # Errors
    ///
    /// [`FetchError`], whose words may be shown to whoever named it.
    pub async fn open(&self, written: &str, rate: SampleRate, may_stream: bool) -> Result<Opened, FetchError> {
        if !may_stream || !written.contains("://") {
            return self.clip(written, rate).await.map(Opened::Clip);
        }
        let url = Url::parse(written).or(Err(FetchError::NotAllowed))?;
        let opened = tokio::time::timeout(self.time_max, async {
            let response = self.connect(url).await?;
            let mut body = Body { bytes: vec![], bytes_max: self.bytes_max, response };
            let is_announced = body.response.content_length().is_some();
            let is_whole = is_announced || body.read_for(STREAM_PATIENCE).await?;
            if !is_whole && kind(&body.bytes) == Some(Kind::Mp3) {
                let (stream, frames) = AudioStream::begin(body.bytes, body.response, rate).await?;
                return Ok(Begun::Stream(Box::new(stream), frames));
            }
            body.read().await?;
            Ok(Begun::Whole(body.bytes))
        });
        match opened.await.unwrap_or(Err(FetchError::TooSlow(self.time_max)))? {
            Begun::Stream(stream, frames) => Ok(Opened::Stream(stream, frames)),
            Begun::Whole(bytes) => decode_beside(bytes, rate).await.map(Opened::Clip),
        }
    }

    async fn fetch(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let response = self.connect(url).await?;
        let mut body = Body { bytes: vec![], bytes_max: self.bytes_max, response };
        body.read().await?;
        Ok(body.bytes)
    }

    /// Connects to a server that may be connected to, and asks it.
    async fn connect(&self, url: Url) -> Result<Response, FetchError> {
        let is_http = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(FetchError::NotAllowed),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::NotAllowed);
        }
        let host = url.host_str().ok_or(FetchError::NotAllowed)?.to_owned();
        let port = url.port_or_known_default().ok_or(FetchError::NotAllowed)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await.or(Err(FetchError::NoAddress))?;
        let addresses: Vec<SocketAddr> = found.collect();
        // Any address that is not public condemns the name: which one is connected to is not to be left to chance.
        for address in &addresses {
            self.check(address.ip(), is_http)?;
        }
        let address = *addresses.first().ok_or(FetchError::NoAddress)?;
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .resolve(&host, address)
            .connect_timeout(self.time_max)
            .build()
            .map_err(http_error)?;
        let response = client.get(url).send().await.map_err(http_error)?;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(FetchError::Status(status)),
        }
    }

    fn check(&self, address: IpAddr, is_http: bool) -> Result<(), FetchError> {
        let is_allowed = self.allowed.iter().any(|it| it.contains(&address));
        match (is_allowed, is_public(address)) {
            (true, _) => Ok(()),
            (false, false) => Err(FetchError::NotPublic(address)),
            (false, true) if is_http && !self.allow_http => Err(FetchError::NotAllowed),
            (false, true) => Ok(()),
        }
    }
}

enum Begun {
    Whole(Vec<u8>),
    Stream(Box<AudioStream>, Consumer<Frame>),
}

/// What a server answers with, as far as it is here.
struct Body {
    bytes: Vec<u8>,
    bytes_max: usize,
    response: Response,
}

impl Body {
    /// Reads to the end.
    async fn read(&mut self) -> Result<(), FetchError> {
        let announced = self.response.content_length().and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
        if announced > self.bytes_max {
            return Err(FetchError::TooLarge(self.bytes_max));
        }
        self.bytes.reserve_exact(announced);
        loop {
            let is_more = self.read_on().await?;
            if self.bytes.len() > self.bytes_max {
                return Err(FetchError::TooLarge(self.bytes_max));
            }
            if !is_more {
                return Ok(());
            }
        }
    }

    /// Reads for so long, or so much that it will not be read as a whole. Whether that was all.
    async fn read_for(&mut self, patience: Duration) -> Result<bool, FetchError> {
        let until = clock::now().instant + patience;
        while self.bytes.len() < STREAM_HEAD_BYTES {
            match tokio::time::timeout_at(until.into(), self.read_on()).await {
                Ok(is_more) => {
                    if !is_more? {
                        return Ok(true);
                    }
                }
                Err(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Reads what comes next. Whether there is more.
    async fn read_on(&mut self) -> Result<bool, FetchError> {
        let Some(piece) = self.response.chunk().await.map_err(http_error)? else {
            return Ok(false);
        };
        self.bytes.extend_from_slice(&piece);
        // What is no audio need not be read to its end.
        if self.bytes.len() >= SNIFFED_BYTES && kind(&self.bytes).is_none() {
            return Err(FetchError::NotAudio);
        }
        Ok(true)
    }
}

/// Whether anybody on the Internet can reach this address (the special-purpose registries of RFC 6890). An IPv6 address
/// that stands for an IPv4 one is judged by that.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // shared by carriers, and some clouds' metadata
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, high, low] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (a, b) {
        (0x64, 0xff9b) => embedded(high, low), // NAT64
        (0x2002, _) => embedded(b, c),         // 6to4
        (0x2001, 0..0x200) => false,           // Teredo, ORCHID, benchmarking
        (0x2001, 0xdb8) => false,              // documentation
        // Only global unicast is public: what else there is (::, ::1, fc00::/7, fe80::/10, ff00::/8 …) is not.
        (first, _) => first & 0xe000 == 0x2000,
    }
}

/// Decoding minutes of audio takes too long for a task that others wait for.
async fn decode_beside(bytes: Vec<u8>, rate: SampleRate) -> Result<Clip, FetchError> {
    let decoded = tokio::task::spawn_blocking(move || decode(&bytes, rate)).await;
    decoded.unwrap_or_else(|error| Err(FetchError::Damaged(error.to_string())))
}

/// Decodes a whole file.
fn decode(bytes: &[u8], rate: SampleRate) -> Result<Clip, FetchError> {
    Ok(audio_file::decode(bytes, rate)?)
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    let mut bytes = vec![];
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Err(FetchError::TooLarge(bytes_max)) } else { Ok(bytes) }
}

/// Without the URL, which may hold a secret.
pub(super) fn http_error(error: reqwest::Error) -> FetchError {
    FetchError::Http(error.without_url().to_string())
}

const SNIFFED_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use futures_util::StreamExt;

    use axum::Router;
    use axum::body::Body;
    use axum::http::{StatusCode, header};
    use axum::response::IntoResponse;
    use axum::routing::get;
    use rusty_mp3::{Mp3Encoder, Mp3EncoderConfig};

    use super::*;
    use crate::limits::STREAM_FRAMES_MAX;
    use crate::server::task;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    fn only_public_addresses_are_public() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"]
        {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[tokio::test]
    async fn what_only_this_server_can_reach_is_refused() {
        let sources = Sources { allow_http: true, ..Sources::default() };
        for url in [
            "http://127.0.0.1:1/a.wav",
            "http://localhost:1/a.wav",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest",
            "http://0/",
            "https://10.0.0.1/a.mp3",
        ] {
            let refused = sources.clip(url, RATE).await.unwrap_err();
            assert!(matches!(refused, FetchError::NotPublic(_)), "{url}: {refused}");
        }
        for url in ["ftp://1.1.1.1/a.wav", "file:///etc/passwd", "gopher://1.1.1.1/", "https://user:pw@1.1.1.1/"] {
            let refused = sources.clip(url, RATE).await.unwrap_err();
            assert!(matches!(refused, FetchError::NotAllowed), "{url}: {refused}");
        }
        let strict = Sources::default().clip("http://1.1.1.1/a.wav", RATE).await.unwrap_err();
        assert!(matches!(strict, FetchError::NotAllowed), "{strict}");
    }

    #[tokio::test]
    async fn what_is_allowed_is_fetched_and_nothing_follows_a_redirect() {
        let (url, sources) = server().await;
        let clip = sources.clip(&format!("{url}/tone.wav"), RATE).await.unwrap();
        assert_eq!((clip.duration_ms(), clip.rate()), (500, RATE));
        let clip = sources.clip(&format!("{url}/tone.mp3"), SampleRate::Hz16000).await.unwrap();
        assert!(clip.duration_ms().abs_diff(500) < 150, "{}", clip.duration_ms());
        for (path, expected) in [
            ("/away", "the server answered 302"),
            ("/nothing", "the server answered 404"),
            ("/page", "it is neither WAV nor MP3"),
            ("/huge", "it has more than 100000 bytes"),
            ("/endless", "it has more than 100000 bytes"),
            ("/slow", "it took longer than 2s"),
        ] {
            let refused = sources.clip(&format!("{url}{path}"), RATE).await.unwrap_err();
            assert_eq!(refused.to_string(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn what_has_no_end_is_played_as_it_comes_and_kept_to_a_little() {
        let (url, sources) = server().await;
        // Megabytes are decoded here, without optimisation.
        let sources = Sources { time_max: Duration::from_secs(20), ..sources };
        for (path, whole_ms) in [("/radio", None), ("/short.mp3", Some(500)), ("/tone.mp3", Some(500))] {
            match (
                sources.open(&format!("{url}{path}"), RATE, true).await.unwrap_or_else(|it| panic!("{path}: {it}")),
                whole_ms,
            ) {
                (Opened::Clip(clip), Some(ms)) => assert!(clip.duration_ms().abs_diff(ms) < 150, "{path}"),
                (Opened::Stream(stream, mut frames), None) => {
                    let running = task::spawn("test stream", stream.run());
                    let mut loud = 0;
                    for _ in 0..1_000 {
                        while frames.is_empty() {
                            tokio::task::yield_now().await;
                        }
                        assert!(frames.slots() <= STREAM_FRAMES_MAX);
                        let frame = frames.pop().unwrap();
                        loud += u32::from(frame.samples().iter().any(|it| it.unsigned_abs() > 1_000));
                    }
                    assert!(loud > 800, "{loud}");
                    drop(frames);
                    assert!(running.await.unwrap().is_ok(), "it ends when nobody listens");
                }
                (opened, _) => panic!("{path}: {opened:?}"),
            }
        }
        // Of which all is needed, none is played as it comes.
        let refused = sources.open(&format!("{url}/radio"), RATE, false).await.unwrap_err();
        assert_eq!(refused.to_string(), "it has more than 100000 bytes");
        let refused = sources.open(&format!("{url}/noise"), RATE, true).await.unwrap_err();
        assert!(matches!(refused, FetchError::Damaged(_) | FetchError::NotAudio), "{refused}");
        let refused = sources.open(&format!("{url}/page"), RATE, true).await.unwrap_err();
        assert!(matches!(refused, FetchError::NotAudio), "{refused}");
    }

    #[tokio::test]
    async fn files_come_from_their_directory_only() {
        let home = std::env::temp_dir().join(format!("hookswitch-clips-{}", std::process::id()));
        std::fs::create_dir_all(home.join("inside/sub")).unwrap();
        std::fs::write(home.join("inside/sub/tone.wav"), wav(8_000, 2)).unwrap();
        std::fs::write(home.join("outside.wav"), wav(8_000, 1)).unwrap();
        std::os::unix::fs::symlink(home.join("outside.wav"), home.join("inside/link.wav")).unwrap();
        let sources = Sources { directory: Some(home.join("inside")), ..Sources::default() };
        assert_eq!(sources.clip("sub/tone.wav", RATE).await.unwrap().duration_ms(), 500);
        for path in ["../outside.wav", "link.wav", "/etc/passwd", "sub/../../outside.wav", "a\0b", "./sub/tone.wav/.."]
        {
            let refused = sources.clip(path, RATE).await;
            assert!(refused.is_err(), "{path}");
        }
        assert!(Sources::default().clip("sub/tone.wav", RATE).await.is_err());
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = wav(16_000, 1);
        for len in 0..whole.len().min(60) {
            drop(decode(&whole[..len], RATE));
        }
        assert!(decode(b"RIFF\xff\xff\xff\xffWAVEfmt ", RATE).is_err());
        assert!(decode(&[0xff; 4_000], RATE).is_err());
        let mut mp3 = vec![0xff, 0xfb, 0x90, 0x00];
        mp3.extend(std::iter::repeat_n(0xa5, 4_000));
        drop(decode(&mp3, RATE));
        assert!(decode(b"ID3\x04\0\0\0\0\0\0", RATE).is_err());
    }

    /// Half a second of a tone.
    fn wav(hz: u32, channels: u16) -> Vec<u8> {
        let spec =
            hound::WavSpec { channels, sample_rate: hz, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
        let mut bytes = Cursor::new(vec![]);
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for at in 0..hz / 2 * u32::from(channels) {
            writer.write_sample(if at % 32 < 16 { 3_000_i16 } else { -3_000 }).unwrap();
        }
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn mp3() -> Vec<u8> {
        let mut encoder = Mp3Encoder::new(Mp3EncoderConfig { bitrate_kbps: 32, vbr_quality: None });
        let samples: Vec<i16> = (0..11_025).map(|at| if at % 44 < 22 { 3_000 } else { -3_000 }).collect();
        encoder.push_pcm_s16(&samples, 1, 22_050).unwrap();
        encoder.finish();
        let mut bytes = vec![];
        while let Ok(packet) = encoder.next_packet() {
            bytes.write_all(&packet).unwrap();
        }
        bytes
    }

    /// A server on loopback, and sources that may fetch from it.
    async fn server() -> (String, Sources) {
        let endless = || futures_util::stream::repeat_with(|| Ok::<_, io::Error>(wav(8_000, 1)));
        let tone = mp3();
        let radio = move || futures_util::stream::repeat(tone.clone()).map(Ok::<_, io::Error>);
        let short = radio.clone();
        let noise = || {
            let sync = || Ok::<_, io::Error>(vec![0xff, 0xfb, 0x90, 0]);
            futures_util::stream::once(async move { sync() })
                .chain(futures_util::stream::repeat_with(|| Ok(vec![7; 900])))
        };
        let never = || {
            let first = futures_util::stream::once(async { Ok::<_, io::Error>(wav(8_000, 1)) });
            Body::from_stream(first.chain(futures_util::stream::pending()))
        };
        let away = || async { (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response() };
        let router = Router::new()
            .route("/tone.wav", get(|| async { wav(16_000, 2) }))
            .route("/tone.mp3", get(|| async { mp3() }))
            .route("/away", get(away))
            .route("/radio", get(move || async move { Body::from_stream(radio()) }))
            .route("/short.mp3", get(move || async move { Body::from_stream(short().take(1)) }))
            .route("/noise", get(move || async move { Body::from_stream(noise()) }))
            .route("/page", get(|| async { "<html><body>no audio at all</body></html>" }))
            .route("/huge", get(|| async { vec![0_u8; 200_000] }))
            .route("/endless", get(move || async move { Body::from_stream(endless()) }))
            .route("/slow", get(move || async move { never() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        task::spawn("test audio", async move { axum::serve(listener, router).await });
        let sources = Sources {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
            time_max: Duration::from_secs(2),
            bytes_max: 100_000,
            ..Sources::default()
        };
        (url, sources)
    }
}
