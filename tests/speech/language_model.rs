//! The driver of language models against a small HTTP server on loopback that answers by script.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookswitch::agent::provider::chat_completions::{ChatCompletions, ChatConfig, TokensField};
use hookswitch::agent::provider::secret::Secret;
use hookswitch::agent::provider::{Message, ModelCommand, ModelEvent, Role};
use hookswitch::server::provider::{ModelAddress, ModelHandle, spawn_model};
use hookswitch::server::task;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::soon;

const HI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi.\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn text_arrives_as_it_is_generated() {
    let (base, requests) = service(|_| vec![stream(), HI.into(), HI.into(), DONE.into()]).await;
    let mut model = connect(base, |_| {});
    assert_eq!(generate(&mut model, 1).await, ["Hi.", "Hi.", "done"]);
    assert_eq!(generate(&mut model, 2).await, ["Hi.", "Hi.", "done"]);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_service_is_asked_again_twice_at_most() {
    let busy = || "HTTP/1.1 429 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
    let (base, requests) = service(move |number| match number {
        0 | 1 => vec![busy()],
        _ => vec![stream(), HI.into(), DONE.into()],
    })
    .await;
    let mut model = connect(base, |_| {});
    assert_eq!(generate(&mut model, 1).await, ["Hi.", "done"]);
    assert_eq!(requests.load(Ordering::SeqCst), 3);

    let down = |_| vec!["HTTP/1.1 503 Down\r\ncontent-length: 4\r\nconnection: close\r\n\r\nsick".to_owned()];
    let (base, requests) = service(down).await;
    let mut model = connect(base, |_| {});
    assert_eq!(generate(&mut model, 1).await, ["failed: the model's service answered 503: sick"]);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_not_get_better_is_not_asked_again_and_keys_are_not_told() {
    let body = "{\"error\":{\"message\":\"Incorrect key sk-secret\",\"code\":\"invalid_api_key\"}}";
    let answer = format!(
        "HTTP/1.1 401 No\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let (base, requests) = service(move |_| vec![answer.clone()]).await;
    let mut model = connect(base, |_| {});
    let expected = "failed: the model's service answered 401: Incorrect key <secret> (invalid_api_key)";
    assert_eq!(generate(&mut model, 1).await, [expected]);
    assert_eq!(requests.load(Ordering::SeqCst), 1);

    let late = "HTTP/1.1 429 Busy\r\nretry-after: 60\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (base, requests) = service(|_| vec![late.to_owned()]).await;
    let mut model = connect(base, |_| {});
    assert_eq!(generate(&mut model, 1).await, ["failed: the model's service answered 429"]);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_hangs_is_left() {
    let (base, _) = service(|_| vec![HANG.to_owned()]).await;
    let mut model = connect(base, |address| address.first_byte_timeout = Duration::from_millis(100));
    assert_eq!(generate(&mut model, 1).await, ["failed: the model did not begin to answer within 100 ms"]);

    let (base, _) = service(|_| vec![stream(), HANG.to_owned()]).await;
    let mut model = connect(base, |address| address.first_byte_timeout = Duration::from_millis(100));
    assert_eq!(generate(&mut model, 1).await, ["failed: the model did not begin to answer within 100 ms"]);

    let (base, _) = service(|_| vec![stream(), HI.into(), HANG.to_owned()]).await;
    let mut model = connect(base, |address| address.total_timeout = Duration::from_millis(300));
    assert_eq!(generate(&mut model, 1).await, ["Hi.", "failed: the model did not finish within 300 ms"]);

    let (base, _) = service(|_| vec![stream(), HI.into()]).await;
    let mut model = connect(base, |_| {});
    assert_eq!(generate(&mut model, 1).await, ["Hi.", "failed: the model's answer ended early"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_or_superseded_generation_says_no_more() {
    let (base, _) = service(|number| match number {
        0 | 1 => vec![stream(), HI.into(), HANG.to_owned()],
        _ => vec![stream(), HI.into(), DONE.into()],
    })
    .await;
    let mut model = connect(base, |_| {});
    for generation in [1, 2] {
        model.send(ModelCommand::Generate { generation, messages: vec![] }).unwrap();
        assert_eq!(soon(model.next()).await, ModelEvent::Text { generation, delta: "Hi.".to_owned() });
    }
    model.send(ModelCommand::Cancel { generation: 1 }).unwrap();
    model.send(ModelCommand::Cancel { generation: 2 }).unwrap();
    assert_eq!(generate(&mut model, 3).await, ["Hi.", "done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_after_the_attempts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let mut model = connect(base, |_| {});
    let log = generate(&mut model, 1).await;
    assert!(log[0].starts_with("failed: the model cannot be reached:") && log[0].contains("refused"), "{log:?}");
}

fn connect(base: String, change: impl FnOnce(&mut ModelAddress)) -> ModelHandle {
    let mut address = ModelAddress::new(base, Some(Secret::new("sk-secret")));
    address.backoff = Duration::from_millis(5);
    change(&mut address);
    let config =
        ChatConfig { model: "m".to_owned(), temperature: None, tokens_max: None, tokens_field: TokensField::MaxTokens };
    spawn_model(ChatCompletions::new(config), address).unwrap()
}

async fn generate(model: &mut ModelHandle, generation: u32) -> Vec<String> {
    let messages = vec![Message { role: Role::User, text: "Hello?".to_owned() }];
    model.send(ModelCommand::Generate { generation, messages }).unwrap();
    let mut log = vec![];
    loop {
        match soon(model.next()).await {
            ModelEvent::Text { generation: of, delta } => {
                assert_eq!(of, generation);
                log.push(delta);
            }
            ModelEvent::Done { generation: of } => {
                assert_eq!(of, generation);
                log.push("done".to_owned());
                return log;
            }
            ModelEvent::Failed { generation: of, reason } => {
                assert_eq!(of, generation);
                log.push(format!("failed: {reason}"));
                return log;
            }
        }
    }
}

const HANG: &str = "<hang>";

fn stream() -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned()
}

/// A server whose `number`th request is answered with `answer(number)`, piece by piece, and the count of requests.
async fn service(answer: impl Fn(usize) -> Vec<String> + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, answer) = (Arc::clone(&requests), Arc::new(answer));
    task::spawn("test model service", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let pieces = answer(count.fetch_add(1, Ordering::SeqCst));
            task::spawn("test model connection", respond(socket, pieces));
        }
    });
    (base, requests)
}

async fn respond(mut socket: TcpStream, pieces: Vec<String>) {
    let request = read_request(&mut socket).await;
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer sk-secret\r\n"), "{request}");
    assert!(request.contains("\"stream\":true"), "{request}");
    for piece in pieces {
        if piece == HANG {
            std::future::pending::<()>().await;
        }
        socket.write_all(piece.as_bytes()).await.unwrap();
        socket.flush().await.unwrap();
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = vec![];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.trim().parse::<usize>().unwrap() {
                return text;
            }
        }
        let read = socket.read_buf(&mut request).await.unwrap();
        assert!(read > 0, "the request ended early");
    }
}
