//! Reading a text with its escapes taken for what they mean, however deep they are: a backslash, or
//! any number of them, and what follows.

/// Bytes after the backslashes that the longest escape takes: two halves of a surrogate pair with
/// [`BETWEEN_HALVES`] backslashes between them.
const LONGEST: usize = 5 + BETWEEN_HALVES + 5;

/// Backslashes between the halves of a surrogate pair that was escaped five times over.
const BETWEEN_HALVES: usize = 16;

/// Where a reader of a growing text stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Unescaper {
    /// Bytes read.
    at: usize,
    /// Backslashes right before that, which belong to what follows.
    backslashes: usize,
}

impl Unescaper {
    /// A reader of the text from an offset on.
    pub(super) fn new(at: usize) -> Self {
        Self { at, backslashes: 0 }
    }

    /// Reads on, and gives the number of bytes read: what is left may be the beginning of an escape
    /// and has to be given again, with more behind it. `told` gets each character, where it begins
    /// and where it ends. `is_whole`: nothing follows.
    pub(super) fn read(
        &mut self,
        text: &str,
        is_whole: bool,
        mut told: impl FnMut(char, usize, usize),
    ) -> usize {
        let mut read = 0;
        while let Some(first) = text[read..].chars().next() {
            #[cfg(test)]
            testing::work::count(1);
            let from = self.at - self.backslashes;
            let (letter, length) = if first == '\\' {
                (None, 1)
            } else if self.backslashes == 0 {
                (Some(first), first.len_utf8())
            } else if text.len() - read < LONGEST && !is_whole {
                break;
            } else {
                escaped(first, &text[read..])
            };
            self.backslashes = if first == '\\' {
                self.backslashes + 1
            } else {
                0
            };
            self.at += length;
            read += length;
            if let Some(letter) = letter {
                told(letter, from, self.at);
            }
        }
        read
    }

    /// Where the part begins that has not been passed on yet.
    pub(super) fn pending(&self) -> usize {
        self.at - self.backslashes
    }
}

/// The text with its escapes taken for what they mean; `None` where nothing is escaped.
pub(super) fn plain(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut plain = String::with_capacity(text.len());
    Unescaper::default().read(text, true, |letter, _, _| plain.push(letter));
    Some(plain)
}

/// What stands after a backslash, and how many bytes that takes.
fn escaped(next: char, rest: &str) -> (Option<char>, usize) {
    let plain = |letter| (Some(letter), next.len_utf8());
    match next {
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'x' => hex(rest, 1, 2),
        'U' => hex(rest, 1, 8),
        'u' if rest[1..].starts_with('{') => {
            let digits = rest.bytes().skip(2).take(7).position(|byte| byte == b'}');
            let digits = digits.filter(|digits| *digits > 0);
            digits.map_or((Some('u'), 1), |digits| {
                let (letter, length) = hex(rest, 2, digits);
                (letter, if length == 1 { 1 } else { length + 1 })
            })
        }
        'u' => match unit(rest, 1, 4) {
            Some(high @ 0xd800..=0xdbff) => {
                let between = rest[5..].bytes().take(BETWEEN_HALVES);
                let skipped = between.take_while(|byte| *byte == b'\\').count();
                let low = &rest[5 + skipped..];
                match unit(low, 1, 4).filter(|_| low.starts_with('u')) {
                    Some(low @ 0xdc00..=0xdfff) => {
                        let letter = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        (char::from_u32(letter), 5 + skipped + 5)
                    }
                    _ => (None, 5),
                }
            }
            _ => hex(rest, 1, 4),
        },
        other => plain(other),
    }
}

/// The character that so many hexadecimal digits mean; the letter before them where they are none.
fn hex(rest: &str, from: usize, digits: usize) -> (Option<char>, usize) {
    match unit(rest, from, digits).and_then(char::from_u32) {
        Some(letter) => (Some(letter), from + digits),
        None => (rest.chars().next(), 1),
    }
}

fn unit(rest: &str, from: usize, digits: usize) -> Option<u32> {
    let digits = rest.get(from..from + digits)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}
