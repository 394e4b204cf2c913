//! A Kamailio of our own: a proxy that stays in the way of every call (Record-Route) and passes it on to the server.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::server_process::{Home, Process, free_port};

/// A running Kamailio.
pub(crate) struct Kamailio {
    process: Process,
    /// Where it listens, on UDP and TCP.
    pub(crate) address: SocketAddr,
    _home: Arc<Home>,
}

impl Kamailio {
    /// Starts one that reaches `server` by `transport`.
    pub(crate) fn start(server: SocketAddr, transport: &str) -> Self {
        let home = Home::new();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let file = home.path().join("kamailio.cfg");
        std::fs::write(&file, configuration(address, server, transport)).unwrap();
        let mut command = Command::new("kamailio");
        // In the foreground, with little memory, and its sockets and pipes in our directory.
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-f"]).arg(&file);
        command.arg("-Y").arg(home.path()).arg("-w").arg(home.path());
        let process = Process::start(&mut command);
        let listens = process.log.wait(LIMIT, |_| process.log.text().contains("Listening on"));
        assert!(listens, "Kamailio does not start:\n{}", process.log.text());
        Self { process, address, _home: home }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Killed, it would leave its children behind.
        self.process.signal("TERM");
        self.process.exit_status(LIMIT);
    }
}

fn configuration(address: SocketAddr, server: SocketAddr, transport: &str) -> String {
    let modules: String = ["tm", "sl", "rr", "pv", "maxfwd", "textops", "siputils"]
        .map(|it| format!("loadmodule \"{it}.so\"\n"))
        .concat();
    format!(
        r#"#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:{address}
listen=tcp:{address}
{modules}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (is_method("INVITE")) {{ record_route(); }}
    $du = "sip:{server};transport={transport}";
    t_relay();
}}
"#
    )
}

const LIMIT: Duration = Duration::from_secs(20);
