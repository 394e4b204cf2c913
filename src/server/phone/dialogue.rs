//! What the test phone does when: it lets the far side finish, says or presses the next thing, and hangs up when nothing
//! is left. Driven by the leg's ticks of 20 ms; no IO.

use std::collections::VecDeque;

use crate::codec::Frame;

/// One thing to do in a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Let this be heard; `label` is what is printed for it.
    Speak {
        /// The words, or the name of the file.
        label: String,
        /// The audio.
        frames: Vec<Frame>,
    },
    /// Press these keys.
    Press(String),
}

/// How patient the phone is, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Silence after which the far side counts as having finished.
    pub(crate) quiet_ms: u32,
    /// How long it waits for the far side to say anything at all before the next action.
    pub(crate) nothing_ms: u32,
    /// How long it stays on the line when nothing is left to do and the far side is silent.
    pub(crate) linger_ms: u32,
}

/// What the driver must do.
#[expect(clippy::large_enum_variant, reason = "nearly every output is audio; boxing it would allocate per frame")]
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Send this frame next.
    Play(Frame),
    /// Press this key.
    Press(char),
    /// Print that this action begins.
    Begin(String),
    /// The far side has finished speaking: finalise what the recogniser heard.
    FarSideFinished,
    /// The far side's first words after an action of ours came so much later than the end of it.
    ReplyBegins {
        /// In milliseconds, measured where they arrive: network and jitter buffer included.
        after_ms: u32,
    },
    /// Nothing is left to do.
    HangUp,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Dialogue {
    actions: VecDeque<Action>,
    patience: Patience,
    /// Whether further actions may come: then the phone waits for them instead of hanging up.
    open_ended: bool,
    state: State,
    outputs: VecDeque<Output>,
    /// Milliseconds since the far side was last heard.
    quiet_ms: u32,
    /// Milliseconds since the end of our last words, until the reply begins.
    waiting_ms: Option<u32>,
}

#[derive(Debug)]
enum State {
    /// Before the answer.
    Idle,
    /// The far side's turn; `spoke` once it has been heard in it, `finished` once that was reported.
    Listening { spoke: bool, finished: bool },
    /// Ours: what is left to queue, and what is queued but not sent.
    Speaking { left: VecDeque<Frame> },
    /// Ours: keys to press, and ticks until the next.
    Pressing { left: VecDeque<char>, ticks: u32 },
    /// Hung up.
    Over,
}

impl Dialogue {
    /// A phone that does `actions` in order. With `open_ended`, [`Dialogue::push`] may add more.
    pub(crate) fn new(actions: impl IntoIterator<Item = Action>, patience: Patience, open_ended: bool) -> Self {
        Self {
            actions: actions.into_iter().collect(),
            patience,
            open_ended,
            state: State::Idle,
            outputs: VecDeque::new(),
            quiet_ms: 0,
            waiting_ms: None,
        }
    }

    /// The call is answered.
    pub(crate) fn handle_answered(&mut self) {
        self.listen();
    }

    /// Adds an action; it comes when the far side has finished.
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// 20 ms have passed: `far_side_speaks` in them, and `queued` frames of ours have not been sent yet.
    pub(crate) fn handle_tick(&mut self, far_side_speaks: bool, queued: u16) {
        if far_side_speaks {
            self.quiet_ms = 0;
            if let Some(after_ms) = self.waiting_ms.take() {
                self.outputs.push_back(Output::ReplyBegins { after_ms });
            }
        } else {
            self.quiet_ms = self.quiet_ms.saturating_add(Frame::MS);
            self.waiting_ms = self.waiting_ms.map(|it| it.saturating_add(Frame::MS));
        }
        match &mut self.state {
            State::Idle | State::Over => (),
            State::Listening { spoke, finished } => {
                if far_side_speaks {
                    *spoke = true;
                    *finished = false;
                }
                if *spoke && !*finished && self.quiet_ms >= self.patience.quiet_ms {
                    *finished = true;
                    self.outputs.push_back(Output::FarSideFinished);
                }
                let ready = if *spoke { *finished } else { self.quiet_ms >= self.patience.nothing_ms };
                if ready {
                    self.next_action();
                }
            }
            State::Speaking { left } => {
                while self.outputs.len() + usize::from(queued) < QUEUED_FRAMES {
                    let Some(frame) = left.pop_front() else { break };
                    self.outputs.push_back(Output::Play(frame));
                }
                let is_spoken = left.is_empty() && queued == 0 && self.outputs.is_empty();
                if is_spoken {
                    self.waiting_ms = Some(0);
                    self.listen();
                }
            }
            State::Pressing { left, ticks } => {
                *ticks = ticks.saturating_sub(1);
                if *ticks == 0 {
                    match left.pop_front() {
                        Some(key) => {
                            self.outputs.push_back(Output::Press(key));
                            *ticks = KEY_TICKS;
                        }
                        None => {
                            self.waiting_ms = Some(0);
                            self.listen();
                        }
                    }
                }
            }
        }
    }

    /// The next thing to do, or `None` once drained.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn listen(&mut self) {
        self.quiet_ms = 0;
        self.state = State::Listening { spoke: false, finished: false };
    }

    fn next_action(&mut self) {
        match self.actions.pop_front() {
            Some(Action::Speak { label, frames }) => {
                self.outputs.push_back(Output::Begin(label));
                self.state = State::Speaking { left: frames.into() };
            }
            Some(Action::Press(keys)) => {
                self.outputs.push_back(Output::Begin(keys.clone()));
                self.state = State::Pressing { left: keys.chars().collect(), ticks: 1 };
            }
            None if !self.open_ended && self.quiet_ms >= self.patience.linger_ms => {
                self.state = State::Over;
                self.outputs.push_back(Output::HangUp);
            }
            None => (),
        }
    }
}

/// Frames kept queued in the leg while speaking.
const QUEUED_FRAMES: usize = 10;
/// Ticks from the beginning of one key to that of the next: 160 ms of tone and a pause.
const KEY_TICKS: u32 = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn speaks_when_the_far_side_has_finished_and_hangs_up_at_the_end() {
        let frames = vec![Frame::silence(SampleRate::Hz8000); 3];
        let actions = [Action::Speak { label: "hi".to_owned(), frames }, Action::Press("12".to_owned())];
        let log = run(actions, &[(5, true), (20, false), (5, true), (80, false)]);
        assert_eq!(
            log,
            [
                "160 finished",
                "160 begin hi",
                "180 play",
                "180 play",
                "180 play",
                "520 reply after 300",
                "660 finished",
                "660 begin 12",
                "680 press 1",
                "920 press 2",
                "1660 hang up"
            ]
        );
    }

    #[test]
    fn does_not_wait_for_ever_for_a_silent_far_side() {
        let log = run([Action::Press("1".to_owned())], &[(60, false)]);
        assert_eq!(log, ["400 begin 1", "420 press 1", "1160 hang up"]);
    }

    fn run(actions: impl IntoIterator<Item = Action>, far_side: &[(u32, bool)]) -> Vec<String> {
        let patience = Patience { quiet_ms: 60, nothing_ms: 400, linger_ms: 500 };
        let mut dialogue = Dialogue::new(actions, patience, false);
        dialogue.handle_answered();
        let mut log = vec![];
        let mut at = 0;
        for (ticks, speaks) in far_side {
            for _ in 0..*ticks {
                at += 20;
                dialogue.handle_tick(*speaks, 0);
                while let Some(output) = dialogue.poll_output() {
                    log.push(match output {
                        Output::Play(_) => format!("{at} play"),
                        Output::Press(key) => format!("{at} press {key}"),
                        Output::Begin(label) => format!("{at} begin {label}"),
                        Output::FarSideFinished => format!("{at} finished"),
                        Output::ReplyBegins { after_ms } => format!("{at} reply after {after_ms}"),
                        Output::HangUp => format!("{at} hang up"),
                    });
                }
            }
        }
        log
    }
}
