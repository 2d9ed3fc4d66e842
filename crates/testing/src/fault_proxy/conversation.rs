//! The two directions of a connection, taken apart into PostgreSQL's messages: a letter, a length,
//! a body. What a client sends before it has logged in has no letter.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A message from a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A statement is done, and its tag begins so. `COMMIT` has this tag only when the transaction
    /// is committed.
    CommandComplete(String),
    /// All that was sent before is done. Statements outside a transaction are committed now, not
    /// when they are complete. The message that ends the login does not count.
    ReadyForQuery,
    /// The one that follows a statement whose text has this part.
    ReadyForQueryAfter(String),
}

/// What the two directions of a connection have said.
#[derive(Debug)]
pub(super) struct Conversation {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Not PostgreSQL, or encrypted: passed on as it is.
    is_opaque: bool,
    has_started: bool,
    /// The server answers a wish for encryption by one byte.
    expects_byte: bool,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    /// Messages of the client that the server answers by `ReadyForQuery`.
    syncs: u64,
    /// `ReadyForQuery` messages, the login's included.
    readies: u64,
    /// Numbers of the syncs that follow a statement that was looked for.
    marked: BTreeSet<u64>,
}

/// The lengths of what comes before a message's body.
const LETTER: usize = 1;
const LENGTH: usize = 4;

/// Codes in the place of the protocol's version.
const CANCEL: u32 = 80_877_102;
const ENCRYPT: [u32; 2] = [80_877_103, 80_877_104];

impl Conversation {
    pub(super) fn new(speaks_postgres: bool) -> Self {
        Self {
            state: Mutex::new(State {
                is_opaque: !speaks_postgres,
                has_started: false,
                expects_byte: false,
                from_client: Vec::new(),
                from_server: Vec::new(),
                syncs: 0,
                readies: 0,
                marked: BTreeSet::new(),
            }),
        }
    }

    /// What is passed on of a client's bytes: its whole messages.
    pub(super) fn hear_client(&self, chunk: &[u8], wanted: Option<&Reply>) -> Vec<u8> {
        let mut state = self.state();
        state.from_client.extend_from_slice(chunk);
        let mut passed = Vec::new();
        while let Some(message) = state.next_of_client(wanted) {
            passed.extend(message);
        }
        passed
    }

    /// What is passed on of the server's bytes: its whole messages, up to the first of the wanted
    /// kind that is to be lost; and whether there was one.
    pub(super) fn hear_server(
        &self,
        chunk: &[u8],
        wanted: Option<&Reply>,
        mut is_lost: impl FnMut() -> bool,
    ) -> (Vec<u8>, bool) {
        let mut state = self.state();
        state.from_server.extend_from_slice(chunk);
        let mut passed = Vec::new();
        while let Some(message) = state.next_of_server() {
            let is_wanted = state.hears(&message, wanted);
            if is_wanted && is_lost() {
                return (passed, true);
            }
            passed.extend(message);
        }
        (passed, false)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_of_client(&mut self, wanted: Option<&Reply>) -> Option<Vec<u8>> {
        if self.is_opaque {
            return take_all(&mut self.from_client);
        }
        if self.has_started {
            let message = take_typed(&mut self.from_client)?;
            let sql = match message[0] {
                b'Q' => Some(&message[LETTER + LENGTH..]),
                // The statement's name comes first.
                b'P' => {
                    let body = &message[LETTER + LENGTH..];
                    body.splitn(2, |byte| *byte == 0).nth(1)
                }
                _ => None,
            };
            if let (Some(sql), Some(Reply::ReadyForQueryAfter(part))) = (sql, wanted)
                && String::from_utf8_lossy(sql).contains(part.as_str())
            {
                self.marked.insert(self.syncs + 1);
            }
            if matches!(message[0], b'Q' | b'S' | b'F') {
                self.syncs += 1;
            }
            return Some(message);
        }
        let message = take(&mut self.from_client, 0)?;
        match number(&message, LENGTH) {
            Some(code) if ENCRYPT.contains(&code) => self.expects_byte = true,
            Some(CANCEL) | None => self.is_opaque = true,
            Some(_) => self.has_started = true,
        }
        Some(message)
    }

    fn next_of_server(&mut self) -> Option<Vec<u8>> {
        if self.is_opaque {
            return take_all(&mut self.from_server);
        }
        if self.expects_byte {
            let byte = *self.from_server.first()?;
            self.expects_byte = false;
            // All but "no" turn to another protocol.
            self.is_opaque = byte != b'N';
            return Some(vec![self.from_server.remove(0)]);
        }
        take_typed(&mut self.from_server)
    }

    /// Takes note of a server's message, and tells whether it is the wanted one.
    fn hears(&mut self, message: &[u8], wanted: Option<&Reply>) -> bool {
        if self.is_opaque {
            return false;
        }
        match message[0] {
            b'C' => match wanted {
                Some(Reply::CommandComplete(tag)) => {
                    message[LETTER + LENGTH..].starts_with(tag.as_bytes())
                }
                _ => false,
            },
            b'Z' => {
                let ready = self.readies;
                self.readies += 1;
                let is_marked = self.marked.remove(&ready);
                match wanted {
                    Some(Reply::ReadyForQuery) => ready > 0,
                    Some(Reply::ReadyForQueryAfter(_)) => is_marked,
                    Some(Reply::CommandComplete(_)) | None => false,
                }
            }
            _ => false,
        }
    }
}

fn take_all(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| std::mem::take(bytes))
}

fn take_typed(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    take(bytes, LETTER)
}

/// The first message, once it is whole; its length stands after that many bytes and counts itself.
fn take(bytes: &mut Vec<u8>, before: usize) -> Option<Vec<u8>> {
    let length = number(bytes, before)?;
    let whole = before + usize::try_from(length).expect("usize holds 32 bits");
    (bytes.len() >= whole).then(|| bytes.drain(..whole).collect())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + LENGTH)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(LENGTH + body.len()).unwrap();
        [&[letter], &length.to_be_bytes()[..], body].concat()
    }

    fn startup(code: u32) -> Vec<u8> {
        [8_u32.to_be_bytes(), code.to_be_bytes()].concat()
    }

    /// After the login.
    fn logged_in() -> Conversation {
        let conversation = Conversation::new(true);
        conversation.hear_client(&startup(196_608), None);
        let (passed, _) = conversation.hear_server(&message(b'Z', b"I"), None, || true);
        assert_eq!(passed, message(b'Z', b"I"));
        conversation
    }

    #[test]
    fn messages_are_passed_on_whole() {
        let conversation = logged_in();
        let query = message(b'Q', b"SELECT 1\0");
        assert_eq!(conversation.hear_client(&query[..7], None), b"");
        assert_eq!(conversation.hear_client(&query[7..], None), query);
        let both = [message(b'D', b"row"), message(b'Z', b"I")].concat();
        let (passed, _) = conversation.hear_server(&both[..10], None, || true);
        assert_eq!(passed, message(b'D', b"row"));
    }

    #[test]
    fn what_comes_before_the_wanted_reply_is_passed_on() {
        let conversation = logged_in();
        let wanted = Reply::CommandComplete("COMMIT".to_owned());
        let all = [
            message(b'C', b"INSERT 0 1\0"),
            message(b'C', b"COMMIT\0"),
            message(b'Z', b"I"),
        ]
        .concat();
        let (passed, cut) = conversation.hear_server(&all, Some(&wanted), || true);
        assert_eq!(passed, message(b'C', b"INSERT 0 1\0"));
        assert!(cut);
    }

    #[test]
    fn a_reply_belongs_to_its_statement_though_statements_are_pipelined() {
        let conversation = logged_in();
        let wanted = Reply::ReadyForQueryAfter("INTO jobs".to_owned());
        for sql in ["SELECT 1", "INSERT INTO jobs", "SELECT 2"] {
            let parse = message(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat());
            conversation.hear_client(&parse, Some(&wanted));
            conversation.hear_client(&message(b'S', b""), Some(&wanted));
        }
        let ready = || conversation.hear_server(&message(b'Z', b"I"), Some(&wanted), || true);
        assert!(!ready().1);
        assert!(ready().1);
    }

    #[test]
    fn the_end_of_the_login_is_no_reply() {
        let conversation = Conversation::new(true);
        conversation.hear_client(&startup(196_608), None);
        let ready = message(b'Z', b"I");
        let wanted = Some(&Reply::ReadyForQuery);
        assert!(!conversation.hear_server(&ready, wanted, || true).1);
        assert!(conversation.hear_server(&ready, wanted, || true).1);
    }

    #[test]
    fn encrypted_bytes_are_passed_on_as_they_are() {
        let conversation = Conversation::new(true);
        let wish = startup(ENCRYPT[0]);
        assert_eq!(conversation.hear_client(&wish, None), wish);
        let (passed, _) = conversation.hear_server(b"S", None, || true);
        assert_eq!(passed, b"S");
        assert_eq!(conversation.hear_client(b"\x16\x03", None), b"\x16\x03");
        let (passed, _) = conversation.hear_server(b"Z\0", Some(&Reply::ReadyForQuery), || true);
        assert_eq!(passed, b"Z\0");
    }

    #[test]
    fn a_refused_wish_for_encryption_goes_on_in_plain() {
        let conversation = Conversation::new(true);
        conversation.hear_client(&startup(ENCRYPT[0]), None);
        conversation.hear_server(b"N", None, || true);
        conversation.hear_client(&startup(196_608), None);
        let (passed, _) = conversation.hear_server(&message(b'Z', b"I")[..3], None, || true);
        assert_eq!(passed, b"");
    }
}
