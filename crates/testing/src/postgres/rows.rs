//! Statements whose rows are read as text.

use std::thread;

use tokio::runtime::Builder;
use tokio_postgres::{Error, NoTls, SimpleQueryMessage};

/// Runs statements on a connection and a thread of their own.
pub(super) fn text_rows(url: &str, sql: &str) -> Result<Vec<Vec<String>>, Error> {
    let run = || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            let connection = tokio::spawn(connection);
            let messages = client.simple_query(sql).await;
            drop(client);
            // Once the session's end has been sent.
            let _ = connection.await;
            Ok(messages?.into_iter().filter_map(row).collect())
        })
    };
    thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"))
}

fn row(message: SimpleQueryMessage) -> Option<Vec<String>> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let values = (0..row.len()).map(|column| row.get(column).unwrap_or_default().to_owned());
    Some(values.collect())
}
