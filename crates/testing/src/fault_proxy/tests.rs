//! In front of a server that repeats what it hears, and of PostgreSQL.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio_postgres::NoTls;

use super::*;
use crate::postgres;

/// A server that repeats what it hears; it ends with the tests.
fn repeater() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            thread::spawn(move || {
                let mut writes = client.try_clone().unwrap();
                std::io::copy(&mut client, &mut writes)
            });
        }
    });
    address
}

/// Reads fail after a while rather than never.
fn connect(proxy: &FaultProxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
}

#[track_caller]
fn repeats(client: &mut TcpStream) {
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

/// What is still heard until the connection's end.
fn rest(client: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    match client.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    heard
}

/// Nothing is heard, not even an end.
#[track_caller]
fn hears_nothing(client: &mut TcpStream) {
    client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let heard = client.read(&mut [0; 1]).unwrap_err();
    assert!(
        matches!(heard.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{heard}"
    );
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
}

#[test]
fn everything_is_passed_on_and_ends_are_too() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut client = connect(&proxy);
    repeats(&mut client);
    assert_eq!((proxy.open(), proxy.accepted()), (1, 1));
    client.write_all(b"last").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"last");
}

#[test]
fn a_delay_counts_each_way() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut client = connect(&proxy);
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let asked = Instant::now();
    repeats(&mut client);
    assert!(asked.elapsed() >= Duration::from_millis(100));
}

#[test]
fn what_was_held_back_arrives_after_the_stall() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut client = connect(&proxy);
    repeats(&mut client);
    proxy.set(Fault::Stall);
    let mut newcomer = connect(&proxy);
    client.write_all(b"late").unwrap();
    newcomer.write_all(b"late").unwrap();
    hears_nothing(&mut client);
    hears_nothing(&mut newcomer);
    proxy.set(Fault::None);
    for client in [&mut client, &mut newcomer] {
        let mut heard = [0; 4];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"late");
    }
}

#[test]
fn what_fell_into_a_black_hole_never_arrives() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut client = connect(&proxy);
    repeats(&mut client);
    proxy.set(Fault::BlackHole);
    let mut newcomer = connect(&proxy);
    client.write_all(b"lost").unwrap();
    newcomer.write_all(b"lost").unwrap();
    hears_nothing(&mut client);
    hears_nothing(&mut newcomer);
    proxy.set(Fault::None);
    client.write_all(b"too late").unwrap();
    hears_nothing(&mut client);
    repeats(&mut connect(&proxy));
}

#[test]
fn refused_clients_may_come_back() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut client = connect(&proxy);
    repeats(&mut client);
    proxy.set(Fault::Refuse);
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    repeats(&mut client);
    proxy.set(Fault::None);
    repeats(&mut connect(&proxy));
}

#[test]
fn a_cut_ends_all_connections_and_no_later_one() {
    let proxy = FaultProxy::in_front_of(repeater());
    let mut clients = [connect(&proxy), connect(&proxy)];
    clients.iter_mut().for_each(repeats);
    proxy.cut_all();
    assert_eq!(proxy.open(), 0);
    for client in &mut clients {
        assert_eq!(rest(client), b"");
    }
    repeats(&mut connect(&proxy));
}

#[test]
fn exactly_so_many_bytes_pass_before_a_cut() {
    for way in [Way::ToServer, Way::ToClient] {
        let proxy = FaultProxy::in_front_of(repeater());
        let mut client = connect(&proxy);
        repeats(&mut client);
        proxy.set(Fault::CutAfter(way, 7));
        client.write_all(b"0123").unwrap();
        let mut heard = [0; 4];
        client.read_exact(&mut heard).unwrap();
        client.write_all(b"456789").unwrap();
        let heard = rest(&mut client);
        match way {
            // The server's last answer may meet the cut.
            Way::ToServer => assert!(b"456".starts_with(&heard[..]), "{heard:?}"),
            Way::ToClient => assert_eq!(heard, b"456"),
        }
        assert_eq!(proxy.cuts(), 1);
    }
}

#[test]
fn a_half_closed_connection_keeps_its_other_half() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = FaultProxy::in_front_of(listener.local_addr().unwrap());
    let pair = || {
        let mut client = connect(&proxy);
        let (mut server, _) = listener.accept().unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        // The proxy has both sides in its hands when something has come through.
        client.write_all(b"!").unwrap();
        server.read_exact(&mut [0]).unwrap();
        (client, server)
    };

    let (mut client, mut server) = pair();
    proxy.half_close(Side::Client);
    assert_eq!(rest(&mut client), b"");
    hears_nothing(&mut server);

    let (mut client, mut server) = pair();
    proxy.half_close(Side::Server);
    assert_eq!(rest(&mut server), b"");
    client.write_all(b"still there?").unwrap();
    hears_nothing(&mut client);
}

/// Runs a statement through the proxy; `None` where the connection broke.
fn run(url: &str, sql: &str) -> Option<()> {
    Runtime::new().unwrap().block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        match client.batch_execute(sql).await {
            Ok(()) => Some(()),
            Err(error) if error.is_closed() || error.code().is_none() => None,
            Err(error) => panic!("{error:?}"),
        }
    })
}

#[test]
fn a_commit_whose_answer_is_lost_has_happened() {
    let Some(database) = postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let url = database.url_by(proxy.address());
    assert_eq!(run(&url, "CREATE TABLE t (n int)"), Some(()));

    let commit = Reply::CommandComplete("COMMIT".to_owned());
    proxy.set(Fault::CutBefore(commit, Which::Next));
    assert_eq!(run(&url, "BEGIN; INSERT INTO t VALUES (1); COMMIT"), None);
    assert_eq!(
        run(&url, "BEGIN; INSERT INTO t VALUES (2); COMMIT"),
        Some(())
    );
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(database.query("SELECT n FROM t ORDER BY n"), [["1"], ["2"]]);
}

#[test]
fn every_second_answer_to_a_statement_is_lost() {
    let Some(database) = postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let url = database.url_by(proxy.address());
    assert_eq!(run(&url, "CREATE TABLE t (n int)"), Some(()));

    let inserted = Reply::ReadyForQueryAfter("INTO t".to_owned());
    proxy.set(Fault::CutBefore(inserted, Which::Every(2)));
    for expected in [Some(()), None, Some(()), None] {
        assert_eq!(run(&url, "INSERT INTO t VALUES (1)"), expected);
        assert_eq!(run(&url, "SELECT 1"), Some(()));
    }
    assert_eq!(database.count("SELECT count(*) FROM t"), 4);
}

/// The server keeps the session of a client that is long gone, with what it has locked.
#[test]
fn a_session_outlives_the_client_half_of_its_connection() {
    let Some(database) = postgres::database() else {
        return;
    };
    let proxy = FaultProxy::in_front_of_postgres(database.server().address());
    let url = database.url_by(proxy.address());
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN").await.unwrap();
        client
    });
    proxy.half_close(Side::Client);
    assert!(runtime.block_on(client.batch_execute("SELECT 1")).is_err());
    let idle = format!(
        "SELECT count(*) FROM pg_stat_activity
        WHERE datname = '{}' AND state = 'idle in transaction'",
        database.name()
    );
    assert_eq!(database.count(&idle), 1);
}
