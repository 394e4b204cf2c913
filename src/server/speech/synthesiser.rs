//! The synthesis thread. Flite is not re-entrant, and one thread renders speech some seventy times faster than it is
//! spoken, so sentences of all sessions go through one queue, first come, first served; each session has at most one in
//! it, which makes it fair.

use tokio::sync::{mpsc, oneshot};

use super::flite_ffi::{self, NoAudio, Rendered, VOICES};
use super::library::Missing;
use crate::agent::provider::WordTime;
use crate::limits::SPEECH_SYNTHESIS_QUEUE_MAX;

/// A handle to the thread, which ends with its last handle.
#[derive(Clone, Debug)]
pub(super) struct Synthesiser {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    sentence: String,
    voice: String,
    reply: oneshot::Sender<Result<Speech, RenderError>>,
}

/// A rendered sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Speech {
    /// Samples a second.
    pub rate_hz: u32,
    /// The audio.
    pub samples: Vec<i16>,
    /// When its words are spoken, from its beginning.
    pub words: Vec<WordTime>,
    /// Whether the times of the words are proportional guesses.
    pub estimated: bool,
}

/// Why a sentence was not rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The engine is not installed.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The engine gave nothing.
    #[error(transparent)]
    NoAudio(#[from] NoAudio),
    /// The engine's thread is gone.
    #[error("the synthesis thread has ended")]
    Ended,
    /// A scripted peer was told to fail.
    #[error("failed as scripted")]
    Scripted,
}

impl Synthesiser {
    /// Starts the thread. The engine is loaded with the first sentence.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub(super) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(SPEECH_SYNTHESIS_QUEUE_MAX);
        std::thread::Builder::new().name("synthesiser".to_owned()).spawn(move || run(queue))?;
        Ok(Self { jobs })
    }

    /// Renders one sentence of `sentences`. Waits for its turn; dropping it takes the sentence out of the queue.
    ///
    /// # Errors
    ///
    /// If the engine is missing or fails.
    pub(super) async fn render(&self, sentence: String, voice: String) -> Result<Speech, RenderError> {
        let (reply, rendered) = oneshot::channel();
        self.jobs.send(Job { sentence, voice, reply }).await.or(Err(RenderError::Ended))?;
        rendered.await.unwrap_or(Err(RenderError::Ended))
    }
}

/// Renders one sentence on the calling thread.
///
/// # Errors
///
/// If the engine is missing or fails.
pub(super) fn render(sentence: &str, voice: &str) -> Result<Speech, RenderError> {
    let Rendered { rate_hz, samples, words } = flite_ffi::flite()?.render(sentence, voice)?;
    let estimated = words.is_empty();
    let words = if estimated { estimated_words(sentence, &samples, rate_hz) } else { words };
    Ok(Speech { rate_hz, samples, words, estimated })
}

/// Whether there is a voice of this name.
pub(super) fn is_voice(name: &str) -> bool {
    VOICES.contains(&name)
}

/// Word times proportional to the words' letters.
pub(super) fn estimated_words(sentence: &str, samples: &[i16], rate_hz: u32) -> Vec<WordTime> {
    let wide = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    let audio_ms = wide(samples.len()) * 1_000 / u64::from(rate_hz.max(1));
    let letters = wide(sentence.split_whitespace().map(|it| it.chars().count() + 1).sum::<usize>()).max(1);
    let ms_at = |letter: u64| u32::try_from(audio_ms * letter / letters).unwrap_or(u32::MAX);
    let mut passed = 0;
    sentence
        .split_whitespace()
        .map(|word| {
            let start_ms = ms_at(passed);
            passed += wide(word.chars().count() + 1);
            WordTime { word: word.to_owned(), start_ms, end_ms: ms_at(passed) }
        })
        .collect()
}

fn run(mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        if !job.reply.is_closed() {
            // A session that has gone meanwhile misses nothing.
            job.reply.send(render(&job.sentence, &job.voice)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessed_word_times_fill_the_audio_in_order() {
        let words = estimated_words("a longest word", &[0; 16_000], 8_000);
        assert_eq!(words.iter().map(|it| it.word.as_str()).collect::<Vec<_>>(), ["a", "longest", "word"]);
        assert_eq!(words[0].start_ms, 0);
        assert_eq!(words[2].end_ms, 2_000);
        assert!(words.windows(2).all(|it| it[0].end_ms == it[1].start_ms && it[0].start_ms < it[0].end_ms));
    }
}
