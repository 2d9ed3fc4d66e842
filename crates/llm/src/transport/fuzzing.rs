//! What [`crate::fuzzing`] needs of this module's own.

use hyper::header::HeaderMap;

use super::gunzip::{Fault, Gunzip};
use super::retry_after;

/// Bytes that may come out.
const MOST: usize = 10_000;

/// Unpacks a body in one piece and in pieces of that length, and compares.
pub(crate) fn unpack(length: usize, body: &[u8]) {
    let whole = unpacked([body].into_iter());
    let cut = unpacked(body.chunks(length));
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            assert_eq!(whole, cut);
            assert!(whole.len() <= MOST);
        }
        (Err(_), Err(_)) => {}
        (whole, cut) => panic!("{whole:?} and {cut:?}"),
    }
}

fn unpacked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Fault> {
    let mut gunzip = Gunzip::new();
    let mut whole = Vec::new();
    for piece in pieces {
        whole.extend(gunzip.unpack(piece, MOST - whole.len())?);
    }
    whole.extend(gunzip.end(MOST - whole.len())?);
    Ok(whole)
}

/// Any headers say a time or none.
pub(crate) fn retry_after(headers: &HeaderMap) {
    let _ = retry_after::read(headers);
}
