//! Whether a key may pay for a model call: what it may take is reserved before, and settled after.

use async_trait::async_trait;
use engine::quota::{CallUsage, Quota, Refused};
use jobs::allotment::Amounts;
use jobs::spend::Spent;

use super::account::Account;
use super::limit::{dollars, nano_usd};

/// Whether a call may be made.
enum Decision {
    Reserved,
    /// It may fit once others are settled, or give back what they have set aside.
    Later,
    Never(Refused),
}

/// A call for which the store is asked, until this is dropped.
struct WaitingCall<'a> {
    account: &'a Account,
    number: u64,
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        if let Some(share) = &mut self.account.ledger().share {
            share.leaves(self.number);
        }
    }
}

impl Account {
    fn decide(&self, model: &str, most: &CallUsage) -> Decision {
        let mut ledger = self.today();
        let daily = ledger.daily();
        if daily.nano_usd.is_some() && most.cost_usd.is_none() {
            return Decision::Never(Refused {
                reason: format!(
                    "the API key has a limit of US dollars per day, and the price of {model} is not known; give \
                     it one with --prices, or limit tokens instead"
                ),
                retryable: false,
            });
        }
        let (call, spent, reserved) = (amounts(most), ledger.sum(), ledger.reserved);
        let sums = [
            (
                "tokens",
                daily.tokens,
                spent.tokens,
                call.tokens,
                reserved.tokens,
            ),
            (
                "US dollars",
                daily.nano_usd,
                spent.nano_usd,
                call.nano_usd,
                reserved.nano_usd,
            ),
        ];
        let mut has_to_wait = false;
        for (unit, limit, spent, call, reserved) in sums {
            let Some(limit) = limit else { continue };
            let sum = spent.saturating_add(call);
            if sum > limit {
                let show = |amount: u64| match unit {
                    "tokens" => amount.to_string(),
                    _ => dollars(amount).to_string(),
                };
                return Decision::Never(Refused {
                    reason: format!(
                        "its API key has used {} of {} {unit} per day, and this call may take {}; the limit resets at {}",
                        show(spent),
                        show(limit),
                        show(call),
                        ledger.day.next().begins()
                    ),
                    retryable: true,
                });
            }
            has_to_wait |= sum.saturating_add(reserved) > limit;
        }
        if let Some(share) = &mut ledger.share
            && daily.is_some()
        {
            // What the store has set aside for this process is within the limit.
            has_to_wait = !share.fits(daily, reserved, call, self.elapsed());
        }
        if has_to_wait {
            return Decision::Later;
        }
        ledger.reserved = reserved.plus(call);
        Decision::Reserved
    }

    /// Has the store asked for a call; `None` where this process has the store to itself.
    fn wait_for_store(&self, call: Amounts) -> Option<WaitingCall<'_>> {
        let number = self.ledger().share.as_mut()?.waits(call);
        Some(WaitingCall {
            account: self,
            number,
        })
    }
}

#[async_trait]
impl Quota for Account {
    async fn reserve(&self, model: &str, most: &CallUsage) -> Result<(), Refused> {
        let mut waiting = None;
        loop {
            let mut settled = std::pin::pin!(self.settled().notified());
            // From here on no settled call is missed.
            settled.as_mut().enable();
            match self.decide(model, most) {
                Decision::Reserved => return Ok(()),
                Decision::Never(refused) => return Err(refused),
                Decision::Later => {
                    if waiting.is_none() {
                        waiting = self.wait_for_store(amounts(most));
                    }
                    // Where others have it, it is asked for again after a while.
                    if self.may_ask_store() {
                        self.ask_store();
                    }
                    settled.await;
                }
            }
        }
    }

    fn settle(&self, reserved: &CallUsage, taken: &CallUsage) {
        let mut ledger = self.today();
        ledger.reserved = ledger.reserved.minus(amounts(reserved));
        // An unknown cost counts as all that was reserved.
        let cost = taken.cost_usd.or(reserved.cost_usd);
        let paid = Spent {
            model_calls: 1,
            input_tokens: taken.input_tokens,
            output_tokens: taken.output_tokens,
            cost_nano_usd: cost.map_or(0, nano_usd),
            ..Spent::default()
        };
        ledger.fresh += paid;
        let is_limited = ledger.daily().is_some();
        if let Some(share) = ledger.share.as_mut().filter(|_| is_limited) {
            share.pay(Amounts::from(&paid));
        }
        drop(ledger);
        self.settled().notify_waiters();
    }

    fn give_back(&self, reserved: &CallUsage) {
        let mut ledger = self.ledger();
        ledger.reserved = ledger.reserved.minus(amounts(reserved));
        drop(ledger);
        self.settled().notify_waiters();
    }
}

fn amounts(usage: &CallUsage) -> Amounts {
    Amounts {
        tokens: usage.tokens(),
        nano_usd: usage.cost_usd.map_or(0, nano_usd),
    }
}
