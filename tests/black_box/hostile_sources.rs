//! Addresses of sounds that are slow, huge, no audio, or inside of what only the server can reach: none is played, the journal
//! says why, and the call goes on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::journal;
use crate::playing::{JINGLE_HZ, MUSIC_HZ, runs, wav_of_tone};
use crate::rtp_peer::{Account, Sends};
use crate::server_process::{Home, Server};
use crate::sip_phone::{ANSWER_MAX, Phone};

#[test]
fn what_cannot_or_must_not_be_fetched_is_not_played() {
    let home = Home::new();
    // Sounds may be fetched from 127.0.0.3 and nowhere else, least of all from what is secret.
    let (secret, asked) = secret();
    let sounds = serve(secret);
    let port = secret.port();
    let cases = [
        (format!("{sounds}/slow"), "it took longer than 2s"),
        (format!("{sounds}/drips"), "it took longer than 2s"),
        (format!("{sounds}/huge"), "it has more than 33554432 bytes"),
        (format!("{sounds}/endless"), "it has more than 33554432 bytes"),
        (format!("{sounds}/page"), "it is neither WAV nor MP3"),
        (format!("{sounds}/cut"), "it cannot be decoded"),
        (format!("{sounds}/away"), "the server answered 302"),
        (format!("{sounds}/gone"), "it cannot be fetched"),
        (format!("http://127.0.0.1:{port}/a.wav"), "127.0.0.1 is not a public address"),
        (format!("http://localhost:{port}/a.wav"), "is not a public address"),
        (format!("http://[::ffff:127.0.0.1]:{port}/a.wav"), "is not a public address"),
        (format!("http://2130706433:{port}/a.wav"), "127.0.0.1 is not a public address"),
        (format!("http://0:{port}/a.wav"), "0.0.0.0 is not a public address"),
        (format!("http://user:word@127.0.0.3:{port}/a.wav"), "not an https URL"),
        ("file:///etc/passwd".to_owned(), "not an https URL"),
        ("../player.toml".to_owned(), "not an https URL"),
    ];
    std::fs::create_dir(home.path().join("sounds")).unwrap();
    std::fs::write(home.path().join("sounds/jingle.wav"), wav_of_tone(JINGLE_HZ, 200)).unwrap();
    std::fs::write(home.path().join("sounds/music.wav"), wav_of_tone(MUSIC_HZ, 1_000)).unwrap();
    let mut pathway = "[pathway]\nname = \"player\"\nstart = \"try0\"\n".to_owned();
    for (index, (url, _)) in cases.iter().enumerate() {
        let next = if index + 1 < cases.len() { format!("try{}", index + 1) } else { "music".to_owned() };
        pathway += &format!(
            "[nodes.try{index}]\nkind = \"play\"\nsource = \"{url}\"\nnext = \"lost\"\nfailed = \"jingle{index}\"\n\
             [nodes.jingle{index}]\nkind = \"play\"\nsource = \"jingle.wav\"\nnext = \"{next}\"\n"
        );
    }
    pathway +=
        "[nodes.music]\nkind = \"play\"\nsource = \"music.wav\"\nnext = \"lost\"\n[nodes.lost]\nkind = \"end\"\n";
    std::fs::write(home.path().join("player.toml"), pathway).unwrap();
    let server = Server::start_in(
        &home,
        &[
            ("SOUNDS__DIRECTORY", "sounds"),
            ("SOUNDS__ALLOW", "127.0.0.3/32"),
            ("SOUNDS__FETCH_S", "2"),
            ("AGENTS__PLAYER__PATHWAY", "player.toml"),
            ("NUMBERS__300__AGENT", "player"),
        ],
    );
    let mut phone = Phone::call(&server, "300");
    let (mut heard, mut is_over) = (Account::default(), false);
    let end = Instant::now() + Duration::from_secs(60);
    while !is_over && Instant::now() < end {
        phone.media.tick(Sends::Silence, &mut heard);
        while let Some(message) = phone.wire.receive(Duration::from_millis(1)) {
            is_over |= message.method() == Some("BYE");
            phone.wire.send(message.reply("200 OK").as_bytes());
        }
    }
    assert!(is_over, "{}", server.log());
    assert!(heard.longest_gap < Duration::from_millis(500), "{:?}", heard.longest_gap);
    assert_eq!(runs(&heard.payload).last().map(|it| it.0), Some(MUSIC_HZ), "{:?}", runs(&heard.payload));
    let data = server.home.data();
    assert!(server.wait(ANSWER_MAX, || journal::calls(&data).iter().all(|it| it.closed)));
    let calls = journal::calls(&data);
    let notes = calls[0].all("note").filter(|it| it["topic"] == "not_played");
    let told: Vec<_> = notes.map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(told.len(), cases.len(), "{told:?}");
    for (told, (url, why)) in told.iter().zip(&cases) {
        assert!(told.starts_with(url.as_str()) && told.contains(why), "{told}, not {why}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0, "what is inside was reached");
}

/// What only this machine can reach, and how often somebody did.
fn secret() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, asked)
}

/// Serves sounds as they should not be; its address.
fn serve(secret: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || drop(answer(stream.unwrap(), secret)));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, secret: SocketAddr) -> std::io::Result<()> {
    let mut request = [0; 4_096];
    let len = stream.read(&mut request)?;
    let request = String::from_utf8_lossy(&request[..len]).into_owned();
    let sound = wav_of_tone(MUSIC_HZ, 2_000);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {length}\r\n\r\n");
    match request.split(' ').nth(1) {
        Some("/slow") => loop {
            std::thread::park();
        },
        Some("/drips") => {
            stream.write_all(ok(sound.len()).as_bytes())?;
            for byte in sound {
                stream.write_all(&[byte])?;
                std::thread::park_timeout(Duration::from_millis(100));
            }
            Ok(())
        }
        Some("/huge") => {
            stream.write_all(ok(1 << 30).as_bytes())?;
            stream.write_all(&sound)
        }
        Some("/endless") => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n\r\n")?;
            stream.write_all(&sound)?;
            loop {
                stream.write_all(&[0; 1 << 16])?;
            }
        }
        Some("/page") => {
            let page = "<html>nothing to be heard here</html>";
            stream.write_all(ok(page.len()).as_bytes())?;
            stream.write_all(page.as_bytes())
        }
        Some("/cut") => {
            stream.write_all(ok(40).as_bytes())?;
            stream.write_all(&sound[..40])
        }
        Some("/away") => {
            let head = format!("HTTP/1.1 302 Found\r\nLocation: http://{secret}/a.wav\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes())
        }
        _ => Ok(()),
    }
}
