//! Who is not served, and what they are told.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hookswitch::agent::provider::secret::Secret;
use hookswitch::agent::provider::speech_protocol::{AudioFormat, RecogniserClient, RecogniserConfig};
use hookswitch::agent::provider::{RecogniserEvent, SynthesiserEvent};
use hookswitch::server::provider::{SocketAddress, spawn_recogniser};
use hookswitch::server::speech::{INSTALL_COMMAND, Model, SpeechConfig, SpeechServer, StartError};
use hookswitch::server::task;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{accept_async, connect_async};

use crate::{TOKEN, address, engine, recogniser, soon, synthesiser};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_beyond_the_pool_waits_and_is_then_told() {
    let server = engine(|config| {
        config.recognisers = 1;
        config.recogniser_wait = Duration::from_millis(150);
    })
    .await;
    let mut first = recogniser(&server, &["yes please"]);
    assert_eq!(soon(first.next()).await, RecogniserEvent::Ready);
    let mut second = recogniser(&server, &["yes please"]);
    assert_eq!(
        soon(second.next()).await,
        RecogniserEvent::Failed { reason: "busy: all recognisers were taken for 150 ms".to_owned() }
    );
    assert_eq!(second.next().await, None);
    assert_eq!(server.counters().recognisers_refused.value(), 1);
    // The place is free once the first has gone.
    let mut third = recogniser(&server, &["yes please"]);
    drop(first);
    assert_eq!(soon(third.next()).await, RecogniserEvent::Ready);
    assert_eq!(server.counters().recognisers_busy.value(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_pages_and_bad_queries_are_refused_before_anything_else() {
    let server = engine(|_| {}).await;
    let good = "encoding=mulaw&rate=8000";
    let bearer = format!("Bearer {TOKEN}");
    for (path, headers, status) in [
        (format!("/v1/recognise?{good}"), vec![], 401),
        (format!("/v1/recognise?{good}"), vec![("authorization", "Bearer wrong")], 401),
        (format!("/v1/recognise?{good}"), vec![("authorization", TOKEN)], 401),
        ("/v1/synthesise?encoding=flac".to_owned(), vec![("authorization", "Bearer")], 401),
        (format!("/v1/recognise?{good}"), vec![("authorization", &*bearer), ("origin", "http://evil")], 403),
        ("/v1/recognise".to_owned(), vec![("authorization", &*bearer)], 400),
        ("/v1/recognise?encoding=mulaw&rate=16000".to_owned(), vec![("authorization", &*bearer)], 400),
        (format!("/v1/synthesise?{good}&voice=nobody"), vec![("authorization", &*bearer)], 400),
        ("/v1/other".to_owned(), vec![("authorization", &*bearer)], 404),
    ] {
        let mut request = reqwest::Client::new()
            .get(format!("http://{}{path}", server.address()))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{path} {headers:?}");
    }
    let mut wrong = address(&server);
    wrong.key = Secret::new("sk-secret");
    let config = RecogniserConfig { format: AudioFormat::MULAW, phrases: vec![], partial_results: false };
    let mut refused = spawn_recogniser(RecogniserClient::new(config), wrong);
    let RecogniserEvent::Failed { reason } = soon(refused.next()).await else { panic!("not refused") };
    assert!(reason.starts_with("cannot connect: 401"), "{reason}");
    assert!(!reason.contains("sk-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_nobody_answering_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = listener.local_addr().unwrap();
    let config = || RecogniserConfig { format: AudioFormat::MULAW, phrases: vec![], partial_results: false };
    let address =
        |base: String| SocketAddress { base, key: Secret::new("k"), connect_timeout: Duration::from_millis(200) };
    let mut unanswered = spawn_recogniser(RecogniserClient::new(config()), address(format!("ws://{mute}")));
    assert_eq!(
        soon(unanswered.next()).await,
        RecogniserEvent::Failed { reason: "cannot connect within 200 ms".to_owned() }
    );
    drop(listener);
    let mut nobody = spawn_recogniser(RecogniserClient::new(config()), address(format!("ws://{mute}")));
    let RecogniserEvent::Failed { reason } = soon(nobody.next()).await else { panic!("connected") };
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_model_is_named_with_what_installs_it() {
    let mut config = SpeechConfig::new(Secret::new(TOKEN));
    config.model = Model::at("/nowhere".into());
    let server = SpeechServer::start(config).await.unwrap();
    let mut listener = recogniser(&server, &["yes"]);
    let RecogniserEvent::Failed { reason } = soon(listener.next()).await else { panic!("it was ready") };
    assert!(reason.starts_with("engine-unavailable: /nowhere/"), "{reason}");
    assert!(reason.contains(INSTALL_COMMAND), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grammar_of_unknown_words_only_is_refused() {
    let server = engine(|_| {}).await;
    let mut listener = recogniser(&server, &["zorblax quuxify"]);
    assert_eq!(
        soon(listener.next()).await,
        RecogniserEvent::Failed { reason: "grammar-empty: no word of the phrases is in the dictionary".to_owned() }
    );
}

#[tokio::test]
async fn the_server_listens_on_loopback_only_and_knows_its_voices() {
    let mut config = SpeechConfig::new(Secret::new(TOKEN));
    config.listen = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(SpeechServer::start(config).await, Err(StartError::NotLoopback(_))));
    let mut config = SpeechConfig::new(Secret::new(TOKEN));
    config.voice = "nobody".to_owned();
    assert!(matches!(SpeechServer::start(config).await, Err(StartError::UnknownVoice(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_its_sessions() {
    let server = engine(|_| {}).await;
    let mut listener = recogniser(&server, &["yes please"]);
    let mut speaker = synthesiser(&server, AudioFormat::MULAW, None);
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Ready);
    assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Ready);
    assert_eq!(server.stop(Duration::from_secs(5)).await, 0);
    let reason = "going-away: the server is shutting down".to_owned();
    assert_eq!(soon(listener.next()).await, RecogniserEvent::Failed { reason: reason.clone() });
    assert_eq!(soon(speaker.next()).await, SynthesiserEvent::Failed { reason });
    assert_eq!(listener.next().await, None);
    assert!(task::counts().contains_key("speech recogniser session"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_closed_and_not_reset_while_audio_is_on_its_way() {
    let server = engine(|config| {
        config.recognisers = 0;
        config.recogniser_wait = Duration::from_millis(50);
    })
    .await;
    let url = format!("ws://{}/v1/recognise?encoding=mulaw&rate=8000", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    // More than the server takes while nobody recognises, so that some of it is unread when it closes.
    for _ in 0..500 {
        socket.send(Message::Binary(vec![0xff; 160].into())).await.unwrap();
    }
    let Message::Text(error) = soon(socket.next()).await.unwrap() else { panic!("not the error") };
    assert!(error.contains(r#""code":"busy""#), "{error}");
    let Message::Close(Some(close)) = soon(socket.next()).await.unwrap() else { panic!("not the close") };
    assert_eq!(u16::from(close.code), 1013);
    if let Some(after) = tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap() {
        panic!("{after:?} after the close");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_said_last_is_told_though_its_connection_is_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("ws://{}", listener.local_addr().unwrap());
    for _ in 0..20 {
        let config = RecogniserConfig { format: AudioFormat::MULAW, phrases: vec![], partial_results: false };
        let connect_timeout = Duration::from_secs(5);
        let address = SocketAddress { base: base.clone(), key: Secret::new("k"), connect_timeout };
        let mut listening = spawn_recogniser(RecogniserClient::new(config), address);
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let error = r#"{"type":"error","code":"engine-failed","message":"no more","fatal":true}"#;
        socket.send(Message::Text(error.into())).await.unwrap();
        // Dropping a socket that does not linger resets it.
        SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        let failed = RecogniserEvent::Failed { reason: "engine-failed: no more".to_owned() };
        assert_eq!(soon(listening.next()).await, failed);
        assert_eq!(listening.next().await, None);
    }
}
