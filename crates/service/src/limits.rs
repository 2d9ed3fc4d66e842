//! How much callers may use: requests per minute, runs in flight, waiting jobs, tokens and cost per
//! day.
//!
//! Each API key has an [`Account`] in memory, found once per request or run. What has to outlive
//! the process (what was spent each day) is stored every second and read at the start
//! ([`Accounts`]). Callers without a key are counted by address ([`Addresses`]), in memory only.
//! Where several processes share a store, each spends its share of a key's limits, and the store says
//! how much that is. `docs/decisions/2026-11-28-limits.md` gives the reasons.

mod account;
mod accounts;
mod addresses;
mod clock;
mod demand;
mod in_flight_slot;
mod ledger;
mod limit;
mod quota;
mod rate;
mod request_share;
mod share;
mod usage;

pub use account::Account;
pub use accounts::Accounts;
pub use addresses::{Addresses, Client};
pub use limit::{Exceeded, Limit, Limits, MOST_TOKENS, USD};
pub use rate::Window;
pub use usage::{KeyUsage, Left, Spending};

pub(crate) use in_flight_slot::InFlightSlot;
