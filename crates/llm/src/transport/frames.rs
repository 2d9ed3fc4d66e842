//! Cuts a streamed body into events: server-sent events, or one JSON document per line.
//!
//! Pure; it does not matter where the body was split. The caller bounds the memory: it counts the
//! whole body against its limit before the bytes come here.

/// How a provider frames its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`
    ServerSentEvents,
    /// `application/x-ndjson`
    Lines,
}

/// Collects bytes and gives back the data of each complete event.
#[derive(Debug)]
pub struct Frames {
    framing: Framing,
    buffer: Vec<u8>,
    /// Start of the first line not yet taken.
    start: usize,
    /// There is no line end before this index.
    scanned: usize,
    /// The last line ended with a carriage return; a line feed right behind it belongs to it.
    after_return: bool,
    first_line: bool,
    data: Option<Vec<u8>>,
    last_id: Option<String>,
}

impl Frames {
    /// A reader of a body that has not begun.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            after_return: false,
            first_line: true,
            data: None,
            last_id: None,
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        #[cfg(test)]
        testing::work::count(
            bytes.len()
                + if self.start > 0 {
                    self.buffer.len() - self.start
                } else {
                    0
                },
        );
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes in memory.
    pub(crate) fn held(&self) -> usize {
        self.buffer.len() + self.data.as_ref().map_or(0, Vec::len)
    }

    /// The data of the next complete event. An event's name is not given: every provider repeats it
    /// in the data.
    pub fn next_event(&mut self) -> Option<Vec<u8>> {
        while let Some(line) = self.next_line() {
            match self.framing {
                Framing::Lines => {
                    if !line.trim_ascii().is_empty() {
                        return Some(line);
                    }
                }
                Framing::ServerSentEvents => {
                    if line.is_empty() {
                        if let Some(data) = self.data.take() {
                            return Some(data);
                        }
                    } else {
                        self.field(&line);
                    }
                }
            }
        }
        None
    }

    /// The id that a server-sent event gave last, for resuming behind it.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// What is left at the end of the body: a last line without a line end. An unfinished
    /// server-sent event is dropped, as its specification says.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        if self.framing != Framing::Lines {
            return None;
        }
        let line = self.buffer.split_off(self.start);
        (!line.trim_ascii().is_empty()).then_some(line)
    }

    /// The data of a server-sent event that the body ended before: servers leave out the last blank
    /// line.
    pub(crate) fn unfinished(&mut self) -> Option<Vec<u8>> {
        if self.framing != Framing::ServerSentEvents {
            return None;
        }
        let line = self.buffer.split_off(self.start);
        self.field(&line);
        self.data.take()
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if name == b"id" {
            self.last_id = Some(String::from_utf8_lossy(value).into_owned());
        }
        if name != b"data" {
            return;
        }
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        if self.after_return && self.start < self.buffer.len() {
            if self.buffer[self.start] == b'\n' {
                self.start += 1;
                self.scanned = self.scanned.max(self.start);
            }
            self.after_return = false;
        }
        #[cfg(test)]
        testing::work::count(1);
        let ends_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let Some(offset) = self.buffer[self.scanned..].iter().position(ends_line) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = self.scanned + offset;
        let mut line = self.buffer[self.start..end].to_vec();
        self.after_return = self.buffer[end] == b'\r';
        self.start = end + 1;
        self.scanned = self.start;
        if self.first_line {
            self.first_line = false;
            if line.starts_with(b"\xEF\xBB\xBF") {
                line.drain(..3);
            }
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut frames = Frames::new(framing);
        let mut events = Vec::new();
        for piece in pieces {
            frames.push(piece);
            while let Some(data) = frames.next_event() {
                events.push(String::from_utf8(data).unwrap());
            }
        }
        events.extend(frames.rest().map(|data| String::from_utf8(data).unwrap()));
        events
    }

    /// However the text is cut in two, and byte by byte, the events are the same.
    #[track_caller]
    fn check(framing: Framing, text: &str, expected: &[&str]) {
        let bytes = text.as_bytes();
        for cut in 0..=bytes.len() {
            assert_eq!(
                read(framing, &[&bytes[..cut], &bytes[cut..]]),
                expected,
                "cut at {cut}"
            );
        }
        assert_eq!(
            read(framing, &bytes.chunks(1).collect::<Vec<_>>()),
            expected,
            "byte by byte"
        );
    }

    #[test]
    fn events_end_with_a_blank_line() {
        let sse = Framing::ServerSentEvents;
        check(sse, "data: one\n\ndata: two\n\n", &["one", "two"]);
        check(sse, "data: one\r\n\r\ndata: two\r\n\r\n", &["one", "two"]);
        check(sse, "data: one\r\rdata: two\r\r", &["one", "two"]);
        check(sse, "data:one\n\n\n\ndata:  two\n\n", &["one", " two"]);
        check(sse, "data: größer\n\ndata: 🎉\n\n", &["größer", "🎉"]);
    }

    #[test]
    fn other_fields_comments_and_a_mark_are_passed_over() {
        check(
            Framing::ServerSentEvents,
            "\u{feff}: hello\nevent: x\nid: 7\ndata: one\nretry: 3\n\nevent: y\n\n",
            &["one"],
        );
    }

    #[test]
    fn the_last_id_stays_until_another_one_comes() {
        let mut frames = Frames::new(Framing::ServerSentEvents);
        frames.push(b"id: 7\ndata: one\n\ndata: two\n\nid:8\ndata: three\n\n");
        let mut ids = Vec::new();
        while frames.next_event().is_some() {
            ids.push(frames.last_id().map(str::to_owned));
        }
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(ids, [id("7"), id("7"), id("8")]);
    }

    #[test]
    fn lines_of_data_are_joined() {
        check(
            Framing::ServerSentEvents,
            "data: one\ndata\ndata: three\n\n",
            &["one\n\nthree"],
        );
    }

    #[test]
    fn an_unfinished_event_is_dropped() {
        check(Framing::ServerSentEvents, "data: one\n\ndata: tw", &["one"]);
        check(
            Framing::ServerSentEvents,
            "data: one\n\ndata: two\n",
            &["one"],
        );
    }

    #[test]
    fn lines_need_no_last_line_end() {
        check(
            Framing::Lines,
            "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}",
            &["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"],
        );
    }
}
