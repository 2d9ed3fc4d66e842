//! Decompresses a gzip body piece by piece, and never more of it than is allowed.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

/// A body that is being decompressed.
#[derive(Debug)]
pub(super) struct Gunzip {
    decoder: MultiGzDecoder<Bounded>,
    has_begun: bool,
}

/// Why a piece cannot be unpacked.
#[derive(Debug)]
pub(super) enum Fault {
    /// The decompressed body is longer than allowed.
    TooLong,
    /// It is not gzip, or ends too early.
    Broken(io::Error),
}

impl Gunzip {
    pub(super) fn new() -> Self {
        Self {
            decoder: MultiGzDecoder::new(Bounded::default()),
            has_begun: false,
        }
    }

    /// Decompresses one more piece, to at most `most` bytes.
    pub(super) fn unpack(&mut self, piece: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
        self.has_begun |= !piece.is_empty();
        self.decoder.get_mut().most = most;
        let unpacked = self
            .decoder
            .write_all(piece)
            .and_then(|()| self.decoder.flush());
        self.taken(unpacked)
    }

    /// What was still held back, once the body has ended. A body without a byte is an empty one.
    pub(super) fn end(&mut self, most: usize) -> Result<Vec<u8>, Fault> {
        if !self.has_begun {
            return Ok(Vec::new());
        }
        self.decoder.get_mut().most = most;
        let ended = self.decoder.try_finish();
        self.taken(ended)
    }

    fn taken(&mut self, unpacked: io::Result<()>) -> Result<Vec<u8>, Fault> {
        let out = self.decoder.get_mut();
        match unpacked {
            Ok(()) => Ok(std::mem::take(&mut out.bytes)),
            Err(_) if out.is_full => Err(Fault::TooLong),
            Err(error) => Err(Fault::Broken(error)),
        }
    }
}

/// Takes up to a number of bytes and then fails.
#[derive(Debug, Default)]
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_full = true;
            return Err(io::Error::other("longer than allowed"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(pieces: &[&[u8]], most: usize) -> Result<Vec<u8>, Fault> {
        let mut gunzip = Gunzip::new();
        let mut whole = Vec::new();
        for piece in pieces {
            whole.extend(gunzip.unpack(piece, most - whole.len())?);
        }
        whole.extend(gunzip.end(most - whole.len())?);
        Ok(whole)
    }

    #[test]
    fn however_it_is_cut_the_text_is_the_same() {
        let text = "otters and otters and more otters".repeat(20);
        let packed = packed(text.as_bytes());
        for cut in 0..=packed.len() {
            let (head, tail) = packed.split_at(cut);
            assert_eq!(unpack(&[head, tail], 10_000).unwrap(), text.as_bytes());
        }
        let bytes: Vec<&[u8]> = packed.chunks(1).collect();
        assert_eq!(unpack(&bytes, 10_000).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_flushed_piece_is_there_before_the_body_ends() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: one\n\n").unwrap();
        encoder.flush().unwrap();
        let mut gunzip = Gunzip::new();
        let first = gunzip.unpack(encoder.get_ref(), 100).unwrap();
        assert_eq!(first, b"data: one\n\n");
    }

    #[test]
    fn a_bomb_is_stopped_and_a_cut_body_is_no_body() {
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(matches!(unpack(&[&bomb], 1_000), Err(Fault::TooLong)));
        let cut = packed(b"otters");
        let cut = &cut[..cut.len() - 9];
        assert!(matches!(unpack(&[cut], 1_000), Err(Fault::Broken(_))));
        assert!(matches!(unpack(&[b"otters"], 1_000), Err(Fault::Broken(_))));
        assert_eq!(unpack(&[], 1_000).unwrap(), b"");
    }
}
