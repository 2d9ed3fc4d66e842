//! Verbs that touch many jobs, cut into chunks, between which others get their turn.

use super::SqliteStore;
use super::fault::Failure;
use super::tables::{CHUNK, Tables};
use crate::store::Error;

impl SqliteStore {
    /// Runs a verb for up to `limit` jobs, in chunks of [`CHUNK`], until there are no more; `verb`
    /// gets the results so far. A failure after the first chunk ends the loop, and what was done
    /// stays done.
    pub(super) async fn in_chunks<T, V>(
        &self,
        limit: usize,
        verb: impl Fn(&[T], usize) -> V + Send,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        V: Fn(&mut Tables<'_>) -> Result<Vec<T>, Failure> + Send + 'static,
    {
        self.chunks(limit, verb, |verb| self.writer.write(verb))
            .await
    }

    /// As [`in_chunks`](Self::in_chunks), for verbs that free space. On a full disk the chunks are
    /// smaller, since those take less of it.
    pub(super) async fn forgotten_in_chunks<T, V>(
        &self,
        limit: usize,
        verb: impl Fn(&[T], usize) -> V + Send + Sync,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        V: Fn(&mut Tables<'_>) -> Result<Vec<T>, Failure> + Send + 'static,
    {
        let make_space = |verb| self.writer.make_space(verb);
        match self.chunks(limit, &verb, make_space).await {
            Err(Error::Unavailable(_)) => self.chunks(1, verb, make_space).await,
            forgotten => forgotten,
        }
    }

    async fn chunks<T, V, W>(
        &self,
        limit: usize,
        verb: impl Fn(&[T], usize) -> V + Send,
        write: impl Fn(V) -> W + Send,
    ) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        V: Send,
        W: Future<Output = Result<Vec<T>, Error>> + Send,
    {
        let mut done = Vec::new();
        while done.len() < limit {
            let most = CHUNK.min(limit - done.len());
            let verb = verb(&done, most);
            match write(verb).await {
                Ok(chunk) => {
                    let is_last = chunk.len() < most;
                    done.extend(chunk);
                    if is_last {
                        break;
                    }
                }
                Err(error) if done.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Shortens the file in small steps. Pages that cannot be given back now stay free for new jobs
    /// until the next time.
    pub(super) async fn give_back_space(&self) {
        while let Ok(true) = self.writer.write(|tables| tables.give_back_space()).await {}
    }
}
