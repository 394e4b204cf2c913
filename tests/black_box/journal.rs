//! What a server has written about its calls, read from its database as any other program would.

use std::path::Path;

use serde_json::Value;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

/// One call as the journal has it.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// Whether its end is on record.
    pub(crate) closed: bool,
    /// Its events in order.
    pub(crate) events: Vec<Value>,
}

impl Recorded {
    /// The events of one type.
    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |it| it["type"] == kind)
    }

    pub(crate) fn has(&self, kind: &str) -> bool {
        self.all(kind).next().is_some()
    }

    /// Why it ended.
    pub(crate) fn end_cause(&self) -> Option<&str> {
        self.all("ended").next()?["cause"].as_str()
    }
}

/// The calls in the data directory, oldest first. The server may be running.
pub(crate) fn calls(data: &Path) -> Vec<Recorded> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(data.join("hookswitch.db")).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let intact: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
        assert_eq!(intact, "ok");
        let calls: Vec<(String, Option<i64>)> =
            sqlx::query_as("SELECT call_id, closed_unix_ms FROM calls ORDER BY opened_unix_ms, call_id")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let mut recorded = vec![];
        for (call, closed) in calls {
            let bodies: Vec<String> =
                sqlx::query_scalar("SELECT body FROM events WHERE call_id = $1 ORDER BY sequence")
                    .bind(call)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
            let events = bodies.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
            recorded.push(Recorded { closed: closed.is_some(), events });
        }
        recorded
    })
}
