//! The arguments of `hookswitch call`. `--say`, `--play` and `--dtmf` may be repeated and keep their order.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::codec::AudioCodec;

/// See the module.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Whom to call: sip:user@host, with :port and ;transport=tcp or ;transport=tls if need be; over a trunk, a number.
    pub target: String,
    /// What to do once the call is answered.
    #[command(flatten)]
    pub actions: Actions,
    /// Keep both sides of the call as a stereo WAV file: the far side left, this phone right.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The authorities that a TLS server's certificate is from, in PEM; those of the system unless given.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Who calls, as the far side sees it.
    #[arg(long, value_name = "USER", default_value = "phone")]
    pub from: String,
    /// A configuration file, for its name servers and trunks.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Call over this trunk of the configuration, with its credentials.
    #[arg(long, value_name = "NAME", requires = "config")]
    pub trunk: Option<String>,
    /// The voice of --say: rms, awb, slt, kal or kal16.
    #[arg(long, default_value = "awb")]
    pub voice: String,
    /// What to offer, in order of preference: opus, g722, pcma, pcmu, l16, l16/8000.
    #[arg(
        long = "codec",
        value_name = "CODECS",
        value_delimiter = ',',
        default_value = "opus,g722,pcma,pcmu",
        value_parser = codec
    )]
    pub codecs: Vec<AudioCodec>,
    /// Words the far side may say, for the recogniser; without them it listens with its general model.
    #[arg(long, value_name = "TEXT")]
    pub expect: Vec<String>,
    /// Give up if nobody answers for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub ring: u64,
    /// Hang up after so many seconds at the latest.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub limit: u64,
    /// Silence of the far side, in milliseconds, after which it counts as having finished.
    #[arg(long, value_name = "MS", default_value_t = 1_200)]
    pub quiet: u32,
}

/// One `--say`, `--play` or `--dtmf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say a text with the local speech engine.
    Say(String),
    /// Play a WAV file: 16-bit mono, 8 or 16 kHz.
    Play(PathBuf),
    /// Press keys: `0-9`, `*`, `#`, `A-D`.
    Dtmf(String),
}

/// All of them, in the order of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions(pub Vec<Step>);

impl FromArgMatches for Actions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut steps: Vec<(usize, Step)> = vec![];
        let mut collect = |name: &str, step: fn(String) -> Step| {
            let indices = matches.indices_of(name).into_iter().flatten();
            let values = matches.get_many::<String>(name).into_iter().flatten();
            steps.extend(indices.zip(values.map(|it| step(it.clone()))));
        };
        collect("say", Step::Say);
        collect("play", |it| Step::Play(it.into()));
        collect("dtmf", Step::Dtmf);
        steps.sort_by_key(|(index, _)| *index);
        Ok(Self(steps.into_iter().map(|(_, step)| step).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Actions {
    fn augment_args(command: Command) -> Command {
        let repeated = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).help(help).action(ArgAction::Append)
        };
        command
            .arg(repeated("say", "TEXT", "Say a text; may be repeated, and mixed with --play and --dtmf"))
            .arg(repeated("play", "FILE", "Play a WAV file, 16-bit mono at 8 or 16 kHz"))
            .arg(repeated("dtmf", "KEYS", "Press keys: 0-9, *, #, A-D").value_parser(keys))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn codec(text: &str) -> Result<AudioCodec, String> {
    let known = || AudioCodec::ALL.map(AudioCodec::key).join(", ");
    AudioCodec::from_key(text).ok_or_else(|| format!("expected one of {}", known()))
}

fn keys(text: &str) -> Result<String, String> {
    let text = text.to_ascii_uppercase();
    match text.chars().find(|it| !matches!(it, '0'..='9' | '*' | '#' | 'A'..='D')) {
        None if text.is_empty() => Err("no keys".to_owned()),
        None => Ok(text),
        Some(other) => Err(format!("`{other}` is not on a telephone; keys are 0-9, *, #, A-D")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn actions_keep_the_order_of_the_command_line() {
        let line = ["call", "sip:a@b", "--dtmf", "1#", "--say", "one", "--play", "two.wav", "--say", "three"];
        let steps = Line::parse_from(line).arguments.actions.0;
        assert_eq!(
            steps,
            [
                Step::Dtmf("1#".to_owned()),
                Step::Say("one".to_owned()),
                Step::Play("two.wav".into()),
                Step::Say("three".to_owned())
            ]
        );
        assert!(Line::try_parse_from(["call", "sip:a@b", "--dtmf", "1x"]).is_err());
    }
}
