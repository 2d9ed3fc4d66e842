//! A client that sends exactly what a test says and shows exactly what came back.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// With a JSON body.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::with_body("POST", path, body).header("Content-Type", "application/json")
    }

    /// With a body and no content type.
    pub(crate) fn with_body(
        method: &'static str,
        path: impl Into<String>,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            body: body.into(),
            ..Self::new(method, path)
        }
    }

    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The request as it goes over the wire.
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() || self.method == "POST" {
            head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(&self, to: SocketAddr) -> Answer {
        self.begin(to).await.finish().await
    }

    /// Sends it and reads the answer's head.
    pub(crate) async fn begin(&self, to: SocketAddr) -> Opened {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        Opened::read(stream, self.method == "HEAD").await
    }

    /// Sends it and goes away without waiting.
    pub(crate) async fn abandon(&self, to: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        stream
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
    left: Left,
}

#[derive(Debug)]
enum Left {
    Bytes(usize),
    Chunks,
}

impl Opened {
    pub(crate) async fn read(stream: TcpStream, is_head: bool) -> Self {
        let mut stream = BufReader::new(stream);
        let status_line = line(&mut stream).await;
        let status = status_line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("no answer: {status_line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let line = line(&mut stream).await;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let header = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        let left = match (is_head, header("transfer-encoding")) {
            (false, Some("chunked")) => Left::Chunks,
            (false, _) => {
                Left::Bytes(header("content-length").map_or(0, |length| length.parse().unwrap()))
            }
            (true, _) => Left::Bytes(0),
        };
        Self {
            status,
            headers,
            stream,
            left,
        }
    }

    /// Reads the rest and asks again on the same connection.
    pub(crate) async fn again(mut self, call: &Call) -> Self {
        let Left::Bytes(length) = self.left else {
            panic!("an endless answer")
        };
        self.stream.read_exact(&mut vec![0; length]).await.unwrap();
        assert!(self.stream.buffer().is_empty());
        let mut stream = self.stream.into_inner();
        stream.write_all(&call.bytes()).await.unwrap();
        Self::read(stream, false).await
    }

    /// The next piece of a chunked body, as text.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(&line(&mut self.stream).await, 16).unwrap();
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
        line(&mut self.stream).await;
        (length > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    pub(crate) async fn finish(mut self) -> Answer {
        let body = match self.left {
            Left::Bytes(length) => {
                let mut bytes = vec![0; length];
                self.stream.read_exact(&mut bytes).await.unwrap();
                String::from_utf8(bytes).unwrap()
            }
            Left::Chunks => {
                let mut body = String::new();
                while let Some(chunk) = self.chunk().await {
                    body += &chunk;
                }
                body
            }
        };
        Answer {
            status: self.status,
            headers: self.headers,
            body,
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line.trim_end_matches("\r\n").to_owned()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub(crate) fn headers(&self, wanted: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let mut reader = serde_json::Deserializer::from_str(&self.body);
        reader.disable_recursion_limit();
        serde::Deserialize::deserialize(&mut reader)
            .unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The answer's `job_id`.
    #[track_caller]
    pub(crate) fn job_id(&self) -> String {
        self.json()["job_id"].as_str().expect("a job id").to_owned()
    }
}
