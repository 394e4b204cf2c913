//! [`AudioStream`]: MP3 over HTTP that comes while it is played, with or without an end, as radio stations send it.
//!
//! What is decoded ahead is bounded; while there is enough, the server waits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rusty_mp3::Mp3Decoder;

use crate::codec::{Frame, FrameMaker, SampleRate};
use crate::limits::{STREAM_FRAMES_AHEAD, STREAM_FRAMES_MAX, STREAM_SILENCE_MAX, STREAM_SILENT_BYTES_MAX};
use crate::media::audio_file::{from_float, mixed};
use crate::server::player::{FetchError, http_error};
use crate::server::{clock, task};

/// See the module. Dropping it ends what is played of it.
pub struct AudioStream {
    response: Response,
    rate: SampleRate,
    decoder: Box<Mp3Decoder>,
    /// Read, and not decoded.
    bytes: Bytes,
    /// Makes frames of what is decoded, and the rate of that.
    maker: Option<(u32, FrameMaker)>,
    writer: Producer<Frame>,
    /// A frame that did not fit.
    waiting: Option<Frame>,
    written: u64,
    bytes_read: usize,
    read_at: Instant,
}

enum Step {
    /// There is enough of it for now.
    Full,
    /// Nothing has come for a moment.
    Waits,
    GoesOn,
    Over,
}

impl AudioStream {
    /// A stream of which `head` has come; returns when the first of it can be played at `rate`.
    pub(super) async fn begin(
        head: Vec<u8>,
        response: Response,
        rate: SampleRate,
    ) -> Result<(Self, Consumer<Frame>), FetchError> {
        let (writer, frames) = RingBuffer::new(STREAM_FRAMES_MAX);
        let mut stream = Self {
            response,
            rate,
            decoder: Box::new(Mp3Decoder::new()),
            bytes_read: head.len(),
            bytes: head.into(),
            maker: None,
            writer,
            waiting: None,
            written: 0,
            read_at: clock::now().instant,
        };
        while stream.written < STREAM_FRAMES_AHEAD {
            if stream.bytes_read > STREAM_SILENT_BYTES_MAX {
                return Err(FetchError::NotAudio);
            }
            if let Step::Full | Step::Over = stream.step().await? {
                break;
            }
        }
        if stream.written == 0 {
            return Err(FetchError::Damaged("there is no MPEG frame in it".to_owned()));
        }
        Ok((stream, frames))
    }

    /// Reads on until the end, or until nobody listens any more.
    ///
    /// # Errors
    ///
    /// [`FetchError`], if it ends for another reason. What has come before is played.
    pub async fn run(mut self) -> Result<(), FetchError> {
        while !self.writer.is_abandoned() {
            match self.step().await? {
                Step::Full => task::deadline(clock::now().instant + PAUSE).await,
                // Decoding is work, and others wait for their turn.
                Step::GoesOn => tokio::task::yield_now().await,
                Step::Waits => {}
                Step::Over => return Ok(()),
            }
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<Step, FetchError> {
        while let Some(frame) = self.waiting.take().or_else(|| self.maker.as_mut()?.1.next_frame()) {
            if let Err(PushError::Full(frame)) = self.writer.push(frame) {
                self.waiting = Some(frame);
                return Ok(Step::Full);
            }
            self.written += 1;
        }
        if !self.bytes.is_empty() {
            let piece = self.bytes.split_to(PIECE_BYTES.min(self.bytes.len()));
            self.decode(&piece)?;
            return Ok(Step::GoesOn);
        }
        let now = clock::now().instant;
        match tokio::time::timeout(PAUSE, self.response.chunk()).await {
            Ok(Ok(Some(piece))) => {
                self.bytes_read = self.bytes_read.saturating_add(piece.len());
                self.bytes = piece;
                self.read_at = now;
                Ok(Step::GoesOn)
            }
            Ok(Ok(None)) => Ok(Step::Over),
            Ok(Err(error)) => Err(http_error(error)),
            Err(_) if now.saturating_duration_since(self.read_at) > STREAM_SILENCE_MAX => {
                Err(FetchError::TooSlow(STREAM_SILENCE_MAX))
            }
            Err(_) => Ok(Step::Waits),
        }
    }

    fn decode(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        self.decoder.push(piece);
        while let Ok(audio) = self.decoder.next_frame() {
            let hz = audio.sample_rate;
            if self.maker.as_ref().is_none_or(|it| it.0 != hz) {
                self.maker = Some((hz, FrameMaker::new(hz, self.rate)?));
            }
            if let Some((_, maker)) = &mut self.maker {
                let samples: Vec<i16> = audio.samples.iter().copied().map(from_float).collect();
                maker.push(&mixed(&samples, audio.channels));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for AudioStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AudioStream({} frames)", self.written)
    }
}

/// Between looks at whether there is room, whether something comes, and whether anybody listens.
const PAUSE: Duration = Duration::from_millis(200);
/// Some tenths of a second at usual bit rates.
const PIECE_BYTES: usize = 2_048;
