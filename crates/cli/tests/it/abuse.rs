//! Clients and providers that mean harm, at a size for every day; `--ignored` has them at full
//! size. Each time the server's memory stays within bounds and it goes on serving others.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::http::{get, post, serve, start, until};
use crate::support::{PATIENCE, Running, greeting};

const MB: u64 = 1_000_000;

/// A server under attack, and where it is.
struct Victim {
    server: Running,
    url: String,
    address: SocketAddr,
}

impl Victim {
    fn of(mut server: Running) -> Self {
        let url = server.url();
        let address = url
            .trim_start_matches("http://")
            .parse()
            .expect("an address");
        Self {
            server,
            url,
            address,
        }
    }

    /// On the built-in model.
    fn start(options: &str) -> Self {
        Self::of(start(
            &greeting(),
            &format!("greeting.yaml --offline --store memory {options}"),
        ))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    fn says(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).expect("it listens");
        stream
    }

    /// Others are served as if nothing was.
    async fn serves_others(&self) {
        let (status, answer) = post(format!("{}/run", self.url), json!({"name": "Ada"})).await;
        assert_eq!(
            (status.as_u16(), &answer["status"]),
            (200, &json!("success")),
            "{answer}"
        );
    }

    /// The most memory that it ever had, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kibibytes
            .and_then(|number| number.parse::<u64>().ok())
            .expect("a number")
            * 1024
    }

    #[track_caller]
    fn stayed_below(&self, bytes: u64) {
        let peak = self.peak();
        assert!(peak < bytes, "{} MB", peak / MB);
    }
}

fn status_line(stream: TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .expect("an answer");
    line.trim_end().to_owned()
}

/// Opens connections until the system has no more, or there are enough.
fn crowd(victim: &Victim, wanted: usize, each: &str) -> Vec<TcpStream> {
    let limit = rlimit::increase_nofile_limit(65_536).expect("a limit");
    let possible = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(200);
    (0..wanted.min(possible))
        .map(|_| victim.says(each))
        .collect()
}

async fn idle_connections(wanted: usize, bound: u64) {
    let victim = Victim::start("");
    victim.serves_others().await;
    let silent = crowd(&victim, wanted / 2, "");
    let kept = crowd(
        &victim,
        wanted / 2,
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    victim.serves_others().await;
    victim.stayed_below(bound);
    let (_, health) = get(format!("{}/health", victim.url)).await;
    assert_eq!(health["status"], "healthy");
    drop((silent, kept));
}

#[tokio::test]
async fn idle_connections_cost_little() {
    idle_connections(1_000, 150 * MB).await;
}

#[tokio::test]
#[ignore = "takes 10,000 descriptors on each side"]
async fn ten_thousand_idle_connections_cost_little() {
    idle_connections(10_000, 400 * MB).await;
}

#[tokio::test]
async fn slow_heads_and_bodies_are_given_up_and_hold_nobody_up() {
    let victim = Victim::start("--head-timeout 300ms --body-timeout 300ms");
    let heads = crowd(
        &victim,
        150,
        "POST /run HTTP/1.1\r\nHost: localhost\r\nX-Sl",
    );
    let body = "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{";
    let bodies = crowd(&victim, 150, body);
    victim.serves_others().await;
    for mut stream in heads {
        let mut said = Vec::new();
        // Closed, or reset because of what was not read.
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty());
    }
    for stream in bodies {
        assert_eq!(status_line(stream), "HTTP/1.1 408 Request Timeout");
    }
    victim.serves_others().await;
    victim.stayed_below(150 * MB);
}

/// Sends a body of that many bytes, as fast as it is taken, and reads the answer meanwhile.
async fn large_body(megabytes: u64) {
    let victim = Victim::start("");
    let length = megabytes * MB;
    for head in [
        format!("Content-Length: {length}"),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        let mut sending = victim.says(&format!(
            "POST /run HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
        ));
        let reading = sending.try_clone().expect("a second handle");
        let is_chunked = head.contains("chunked");
        let sender = std::thread::spawn(move || {
            let piece = vec![b'x'; 1_000_000];
            for _ in 0..megabytes {
                let sent = if is_chunked {
                    sending
                        .write_all(b"f4240\r\n")
                        .and_then(|()| sending.write_all(&piece))
                        .and_then(|()| sending.write_all(b"\r\n"))
                } else {
                    sending.write_all(&piece)
                };
                // It hears so much of it, and no more.
                if sent.is_err() {
                    break;
                }
            }
        });
        assert_eq!(status_line(reading), "HTTP/1.1 413 Payload Too Large");
        victim.serves_others().await;
        sender.join().expect("it sends or gives up");
    }
    victim.stayed_below(150 * MB);
}

#[tokio::test]
async fn a_large_body_is_refused_while_it_is_sent() {
    large_body(60).await;
}

#[tokio::test]
#[ignore = "sends two gigabytes"]
async fn a_gigabyte_is_refused_while_it_is_sent() {
    large_body(1_000).await;
}

async fn in_parallel(victim: &Victim, times: usize, body: String) -> Vec<String> {
    let body = Arc::new(body);
    let threads: Vec<_> = (0..times)
        .map(|_| {
            let body = Arc::clone(&body);
            let mut stream = victim.connect();
            std::thread::spawn(move || {
                let head = format!(
                    "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).expect("it listens");
                stream.write_all(body.as_bytes()).expect("it listens");
                status_line(stream)
            })
        })
        .collect();
    victim.serves_others().await;
    threads
        .into_iter()
        .map(|thread| thread.join().expect("an answer"))
        .collect()
}

#[tokio::test]
async fn bodies_that_would_make_large_values_make_none() {
    let victim = Victim::start("");
    // Ten megabytes each, the most that is taken: of empty lists, of keys, of depth.
    for body in [
        format!(r#"{{"name": "x", "x": [{}[]]}}"#, "[],".repeat(3_000_000)),
        format!(
            r#"{{"name": "x", {}"y": 0}}"#,
            r#""a":0,"#.repeat(1_600_000)
        ),
        format!(r#"{{"name": {}"#, "[".repeat(9_000_000)),
        format!(r#"{{"name": {}"#, r#"{"a":"#.repeat(100_000)),
    ] {
        for answer in in_parallel(&victim, 4, body).await {
            assert_eq!(answer, "HTTP/1.1 422 Unprocessable Entity");
        }
    }
    victim.stayed_below(250 * MB);
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let victim = Victim::start("");
    let flood = "X-Flood: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(50_000);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = victim.says("GET /health HTTP/1.1\r\nHost: localhost\r\n");
            let flood = flood.clone();
            std::thread::spawn(move || {
                let _ = stream.write_all(flood.as_bytes());
                status_line(stream)
            })
        })
        .collect();
    victim.serves_others().await;
    for thread in threads {
        let answer = thread.join().expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    victim.stayed_below(150 * MB);
}

/// A provider that answers every request with this head, and then with a piece over and over.
fn provider(head: String, piece: Vec<u8>, times: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let piece = Arc::new(piece);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (head, piece) = (head.clone(), Arc::clone(&piece));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                let mut writer = &stream;
                let mut sent = writer.write_all(head.as_bytes());
                for _ in 0..times {
                    sent = sent.and_then(|()| writer.write_all(&piece));
                }
                // The client hangs up when it has had enough.
                drop(sent);
            });
        }
    });
    address
}

async fn against(provider: SocketAddr) -> (Victim, Value) {
    let project = greeting();
    let mut command = serve(&project, "greeting.yaml --store memory --model openai/test");
    command
        .env("OPENAI_BASE_URL", format!("http://{provider}/v1"))
        .env("OPENAI_API_KEY", "none");
    let victim = Victim::of(Running::start(&mut command));
    let url = format!("{}/run", victim.url);
    let (status, answer) = tokio::time::timeout(PATIENCE * 2, post(url, json!({"name": "Ada"})))
        .await
        .expect("an answer");
    assert_eq!(status, 502, "{answer}");
    (victim, answer)
}

#[tokio::test]
async fn a_gzip_bomb_from_a_provider_fails_the_run_and_nothing_else() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&vec![b' '; 4 << 20]).expect("memory");
    let member = packer.finish().expect("memory");
    // A gigabyte in some hundred kilobytes.
    let times = 256;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        member.len() * times
    );
    let (victim, answer) = against(provider(head, member, times)).await;
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("longer than 33554432 bytes"), "{answer}");
    victim.stayed_below(250 * MB);
}

#[tokio::test]
async fn a_reply_of_200_mb_fails_the_run_and_nothing_else() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 200000000\r\n\r\n";
    let piece = vec![b' '; 1_000_000];
    let (victim, answer) = against(provider(head.to_owned(), piece, 200)).await;
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("longer than 33554432 bytes"), "{answer}");
    assert_eq!(answer["error_source"], "provider");
    victim.stayed_below(250 * MB);
}

#[tokio::test]
async fn an_idle_crowd_beyond_the_cap_keeps_nobody_out() {
    let victim = Victim::start("--max-connections 50");
    let silent = crowd(&victim, 200, "");
    let kept = crowd(
        &victim,
        200,
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    // Those that came last may still be on their way out.
    until(|| {
        let mut said = String::new();
        let mut stream = victim.connect();
        let asked = stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        asked
            .and_then(|()| stream.read_to_string(&mut said))
            .is_ok()
            && said.starts_with("HTTP/1.1 200 ")
    })
    .await;
    for _ in 0..10 {
        victim.serves_others().await;
    }
    drop((silent, kept));
}
