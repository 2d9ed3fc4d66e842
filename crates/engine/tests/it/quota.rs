//! What a quota is asked before each call, and told after it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use engine::outcome::FailureCode;
use engine::quota::{CallUsage, DEFAULT_ANSWER_TOKENS, Quota, Refused};
use llm::error::ErrorKind;
use serde_json::json;

use crate::fixture::{Answer, FakeModels, Fixture, Ran, plan};

/// Allows that many calls, and notes what it is told.
#[derive(Debug)]
pub(crate) struct FakeQuota {
    left: Mutex<usize>,
    told: Mutex<Vec<String>>,
}

impl FakeQuota {
    pub(crate) fn of(calls: usize) -> Arc<Self> {
        Arc::new(Self {
            left: Mutex::new(calls),
            told: Mutex::default(),
        })
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> String {
        self.notes().pop().unwrap()
    }

    fn note(&self, what: &str, taken: &CallUsage) {
        let CallUsage {
            input_tokens,
            output_tokens,
            ..
        } = taken;
        let note = format!("{what} {input_tokens}+{output_tokens}");
        self.told.lock().unwrap().push(note);
    }
}

#[async_trait]
impl Quota for FakeQuota {
    async fn reserve(&self, model: &str, most: &CallUsage) -> Result<(), Refused> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            return Err(Refused {
                reason: format!("nothing is left for {model}"),
                retryable: true,
            });
        }
        *left -= 1;
        self.note("reserve", most);
        Ok(())
    }

    fn settle(&self, _reserved: &CallUsage, taken: &CallUsage) {
        self.note("settle", taken);
    }

    fn give_back(&self, reserved: &CallUsage) {
        self.note("give back", reserved);
    }
}

fn workflow(more: &str) -> String {
    format!(
        "state: {{fields: {{a: {{type: int, default: 0}}}}}}\nnodes:\n  \
         - {{id: x, prompt: a prompt of thirty characters.., output_schema: {{type: int}}, outputs: [a]}}\nedges:\n  \
         - {{from: START, to: x}}\n  - {{from: x, to: END}}\n{more}"
    )
}

async fn run(workflow: &str, answers: Vec<Answer>, quota: &Arc<FakeQuota>) -> Ran {
    let mut fixture = Fixture::new(&plan(workflow), &FakeModels::script([("x", answers)]));
    fixture.limits.quota = Some(quota.clone());
    fixture.run(json!({})).await
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_reserved_and_settled() {
    let quota = FakeQuota::of(9);
    let answers = vec![
        Answer::error(ErrorKind::Overloaded),
        Answer::result("no number"),
        Answer::result(5),
    ];
    let ran = run(
        &workflow("config: {execution: {max_retries: 3}}"),
        answers,
        &quota,
    )
    .await;
    assert_eq!(ran.outputs(), json!({"a": 5}));
    let told = quota.told.lock().unwrap();
    let kinds: Vec<_> = told
        .iter()
        .map(|note| note.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(
        kinds,
        [
            "reserve",
            "give back",
            "reserve",
            "settle",
            "reserve",
            "settle"
        ]
    );
    assert_eq!((&*told[3], &*told[5]), ("settle 10+5", "settle 10+5"));
    let reserved = |index: usize| {
        let (_, amount) = told[index].rsplit_once(' ').unwrap();
        let (input, output) = amount.split_once('+').unwrap();
        (
            input.parse::<u64>().unwrap(),
            output.parse::<u32>().unwrap(),
        )
    };
    let first = reserved(0);
    assert!(first.0 > 64 + 10, "prompt and schema count: {told:?}");
    assert_eq!(first.1, DEFAULT_ANSWER_TOKENS);
    assert!(
        reserved(4).0 > first.0,
        "so does what the model is shown again: {told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_nodes_own_bound_is_what_its_answer_may_take() {
    let quota = FakeQuota::of(1);
    let bound = workflow("").replace("outputs: [a]", "outputs: [a], llm: {max_tokens: 77}");
    run(&bound, vec![Answer::result(5)], &quota).await;
    assert!(quota.told.lock().unwrap()[0].ends_with("+77"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_not_be_made_fails_the_run() {
    let quota = FakeQuota::of(0);
    let ran = run(&workflow(""), vec![], &quota).await;
    let failure = ran.failure();
    assert_eq!(failure.code, FailureCode::QuotaExhausted);
    assert!(
        failure
            .message
            .starts_with("Node `x`: nothing is left for "),
        "{}",
        failure.message
    );
    assert!(failure.retryable);
    assert_eq!(ran.finished.usage.llm_calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_counts_its_prompt() {
    let quota = FakeQuota::of(1);
    let once = workflow("config: {execution: {max_retries: 1}}");
    run(&once, vec![Answer::error(ErrorKind::Timeout)], &quota).await;
    let told = quota.told.lock().unwrap();
    let input = |note: &str| {
        let (_, amount) = note.rsplit_once(' ').unwrap();
        amount.split_once('+').unwrap().0.parse::<u64>().unwrap()
    };
    assert!(told.len() == 2 && told[1].starts_with("settle ") && told[1].ends_with("+0"));
    // Estimated by the text; one token per byte was reserved.
    assert!((9..input(&told[0])).contains(&input(&told[1])), "{told:?}");
}

/// The run's own budget is asked after it, and what was reserved is released.
#[tokio::test(start_paused = true)]
async fn a_call_that_the_budget_forbids_is_given_back() {
    let quota = FakeQuota::of(9);
    let mut fixture = Fixture::new(&plan(&workflow("")), &FakeModels::script([("x", vec![])]));
    fixture.limits.quota = Some(quota.clone());
    fixture.limits.budget.max_llm_calls = Some(0);
    let ran = fixture.run(json!({})).await;
    assert_eq!(ran.failure().code, FailureCode::BudgetExceeded);
    let told = quota.told.lock().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(told[1], told[0].replace("reserve", "give back"));
}
