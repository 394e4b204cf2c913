//! The command line: arguments to [`hookswitch::server`]. Everything it does is in the library.
#![expect(clippy::print_stderr, reason = "the place where an error reaches the person who typed the command")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hookswitch::server::{check, demo, phone, serve, speech_server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A phone system for voice agents: SIP B2BUA, RTP media server and agent runtime in one binary.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Without a configuration it listens on loopback and the demo agent answers every call.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Start a server on loopback, place a real call to the demo agent and print the conversation as it happens.
    Demo {
        /// Where to leave transcript.json and recording.wav.
        #[arg(long, value_name = "DIRECTORY", default_value = "demo")]
        output: PathBuf,
    },
    /// A test phone: place a call, speak, listen, print what was heard.
    Call(phone::arguments::Arguments),
    /// Run the local speech engine as a server of its own.
    Speech {
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// The bearer token that clients must present.
        #[arg(long, env = "HOOKSWITCH_SPEECH_TOKEN", hide_env_values = true)]
        token: String,
        /// How many recognitions run at once; by default as many as suit the cores.
        #[arg(long)]
        decoders: Option<usize>,
    },
    /// Check whether a configuration will work here: ports, names, trunks (OPTIONS and registration), speech.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Ask a running server whether it is ready; exits 0 if it is.
    Health {
        /// The server's HTTP address.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        http: SocketAddr,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hookswitch: the runtime does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Serve { config } => serve::run(config.as_deref()).await,
            Command::Demo { output } => demo::run(&output).await,
            Command::Call(arguments) => phone::run(&arguments).await,
            Command::Speech { listen, token, decoders } => speech_server::run(listen, &token, decoders).await,
            Command::Check { config } => check::run(config.as_deref()).await,
            Command::Health { http } => serve::health(http).await,
        }
    });
    // A task that hangs in a system call must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hookswitch: {error:#}");
            ExitCode::FAILURE
        }
    }
}
