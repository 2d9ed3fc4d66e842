//! One connection through the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

use super::conversation::Conversation;
use super::setting::{Fault, Order, Setting, Shared, Side, Way};

/// Both sides are to be closed.
struct Cut;

/// Serves a client to the end of the connection.
pub(super) async fn serve(
    mut client: TcpStream,
    number: u64,
    mut orders: broadcast::Receiver<Order>,
    shared: Arc<Shared>,
) {
    let mut server = None;
    let order = tokio::select! {
        () = pass_all(&mut client, &mut server, &shared) => Order::Cut,
        order = orders.recv() => order.unwrap_or(Order::Cut),
    };
    let (closed, kept) = match order {
        Order::Cut => ([Some(client), server], None),
        Order::Close(Side::Client) => ([Some(client), None], server),
        Order::Close(Side::Server) => ([None, server], Some(client)),
    };
    drop(closed);
    shared.change(|state| {
        state.open.remove(&number);
    });
    if let Some(mut kept) = kept {
        swallow(&mut kept).await;
    }
}

/// Until both sides have closed, or the connection is to be cut.
async fn pass_all(client: &mut TcpStream, server: &mut Option<TcpStream>, shared: &Shared) {
    let mut settings = shared.setting.subscribe();
    let Ok(setting) = when_not_stalled(&mut settings).await else {
        return;
    };
    if setting.fault == Fault::BlackHole {
        swallow(client).await;
        // The server was never asked, and the client gets no answer to its end either.
        return;
    }
    let Ok(connected) = TcpStream::connect(shared.server).await else {
        return;
    };
    let server = server.insert(connected);
    for socket in [&*client, &*server] {
        socket
            .set_nodelay(true)
            .expect("a TCP socket has the option");
    }
    let conversation = Conversation::new(shared.speaks_postgres);
    let has_lost = AtomicBool::new(false);
    let (client_reads, client_writes) = client.split();
    let (server_reads, server_writes) = server.split();
    let direction = |way| Direction {
        way,
        shared,
        conversation: &conversation,
        has_lost: &has_lost,
        settings: settings.clone(),
        setting_number: 0,
        passed: 0,
    };
    let to_server = direction(Way::ToServer);
    let to_client = direction(Way::ToClient);
    // An error is a cut, and a cut is what follows.
    let _ = tokio::try_join!(
        to_server.pass(client_reads, server_writes),
        to_client.pass(server_reads, client_writes),
    );
}

/// One of the two directions of a connection.
struct Direction<'c> {
    way: Way,
    shared: &'c Shared,
    conversation: &'c Conversation,
    /// A black hole took something from this connection.
    has_lost: &'c AtomicBool,
    settings: watch::Receiver<Setting>,
    /// The setting that `passed` counts for.
    setting_number: u64,
    /// Bytes passed on since.
    passed: u64,
}

impl Direction<'_> {
    async fn pass(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Cut> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).await.map_err(|_| Cut)?;
            let setting = when_not_stalled(&mut self.settings).await?;
            if setting.fault == Fault::BlackHole {
                self.has_lost.store(true, Ordering::Relaxed);
            }
            let has_lost = self.has_lost.load(Ordering::Relaxed);
            if read == 0 {
                if !has_lost {
                    to.shutdown().await.map_err(|_| Cut)?;
                }
                return Ok(());
            }
            if has_lost {
                continue;
            }
            if let Fault::Delay(time) = setting.fault {
                sleep(time).await;
            }
            let (passed, cut) = self.through(&buffer[..read], &setting);
            to.write_all(&passed).await.map_err(|_| Cut)?;
            if cut {
                self.shared.change(|state| state.cuts += 1);
                return Err(Cut);
            }
        }
    }

    /// What of a chunk is passed on now, and whether the connection is cut then.
    fn through(&mut self, chunk: &[u8], setting: &Setting) -> (Vec<u8>, bool) {
        if self.setting_number != setting.number {
            self.setting_number = setting.number;
            self.passed = 0;
        }
        let (wanted, which) = match &setting.fault {
            Fault::CutBefore(reply, which) => (Some(reply), Some(*which)),
            _ => (None, None),
        };
        let (mut passed, mut cut) = match self.way {
            Way::ToServer => (self.conversation.hear_client(chunk, wanted), false),
            Way::ToClient => self.conversation.hear_server(chunk, wanted, || {
                which.is_some_and(|which| self.shared.loses_match(which))
            }),
        };
        if let Fault::CutAfter(way, bytes) = setting.fault
            && way == self.way
        {
            let left = bytes.saturating_sub(self.passed);
            if let Ok(left) = usize::try_from(left)
                && left <= passed.len()
            {
                passed.truncate(left);
                cut = true;
            }
        }
        self.passed += passed.len() as u64;
        (passed, cut)
    }
}

async fn when_not_stalled(settings: &mut watch::Receiver<Setting>) -> Result<Setting, Cut> {
    let setting = settings
        .wait_for(|setting| setting.fault != Fault::Stall)
        .await;
    setting.map(|setting| setting.clone()).map_err(|_| Cut)
}

/// Reads and forgets until the other end closes.
async fn swallow(socket: &mut TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
