//! Draining, and the end.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;

use crate::client::Call;
use crate::models::Part;
use crate::server::{ECHO, Server};

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_draining_server_finishes_its_runs_and_takes_no_new_ones() {
    let server = Server::start(Part::Gated);
    let id = server.start_job().await;
    assert_eq!(
        server.get("/health/ready").await.json(),
        json!({ "status": "ready" })
    );
    let draining = tokio::spawn({
        let service = server.service.clone();
        async move { service.drain(LONG).await }
    });
    tokio::task::yield_now().await;

    for call in [
        Call::post("/run", r#"{"message": "hi"}"#),
        Call::post("/jobs", r#"{"inputs": {"message": "hi"}}"#),
        Call::get("/health/ready"),
    ] {
        let answer = server.send(call).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (503, &json!("draining"))
        );
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    assert_eq!(
        server.get("/health/live").await.json(),
        json!({ "status": "alive" })
    );
    assert_eq!(
        server.get(&format!("/status/{id}")).await.json()["status"],
        "running"
    );

    server.model.let_go(1);
    assert_eq!(draining.await.unwrap().finished, 1);
    assert_eq!(
        server.get(&format!("/status/{id}")).await.json()["status"],
        "completed"
    );
}

#[tokio::test]
async fn an_answer_in_flight_still_goes_out_after_shutdown() {
    let server = Server::start(Part::Gated);
    let waiting = tokio::spawn({
        let address = server.address;
        async move {
            Call::post("/run", r#"{"message": "hi"}"#)
                .send(address)
                .await
        }
    });
    server.until_asked(1).await;
    server.shutdown.cancel();
    server.model.let_go(1);
    assert_eq!(waiting.await.unwrap().status, 200);
    tokio::time::timeout(LONG, server.serving)
        .await
        .expect("it ends")
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_cut() {
    let settings = server::Settings {
        close_timeout: Duration::from_millis(20),
        ..server::Settings::default()
    };
    let server = Server::with(Part::Gated, &[ECHO], settings, service::Settings::default());
    let id = server.start_job().await;
    let mut stream = Call::get(format!("/jobs/{id}/events"))
        .begin(server.address)
        .await;
    assert!(stream.chunk().await.is_some());
    server.shutdown.cancel();
    tokio::time::timeout(LONG, server.serving)
        .await
        .expect("it ends")
        .unwrap();
}
