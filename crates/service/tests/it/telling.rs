//! Telling others how jobs ended.

mod receivers;

use std::sync::Arc;
use std::time::Duration;

use engine::host::Host;
use jobs::job::{Job, JobId, NewJob, Status, Workload};
use jobs::json::Json;
use jobs::memory::MemoryStore;
use jobs::signals::{InProcess, NoSignals, Signals};
use jobs::store::{JobStore, ReplicaId, SubmitOptions, Submitted};
use jobs::webhook::{Delivery, DeliveryCapacity, DeliveryState};
use lang::workflow::Budget;
use serde_json::{Value, json};
use service::submission::RunRequest;
use service::webhooks::{DefaultWebhook, GIVE_UP_AFTER, WebhookFault, Webhooks};
use service::{RetryFrom, Settings};

use self::receivers::{Act, Message, Receivers, pass_days, until};
use crate::fixture::{Answer, FakeModels, Fixture, HOUR, SharedStore, TestHost, chain, request};

/// 32 bytes.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const SECOND: Duration = Duration::from_secs(1);

/// A service whose webhooks go to receivers that act by host and number of the message.
struct Telling {
    fixture: Fixture,
    receivers: Arc<Receivers>,
    store: Arc<SharedStore>,
    host: Arc<TestHost>,
}

impl Telling {
    fn new(act: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Self {
        Self::with(Settings::default(), None, act)
    }

    fn with(
        settings: Settings,
        default: Option<DefaultWebhook>,
        act: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
        Self::on(store, host, settings, default, act)
    }

    fn on(
        store: Arc<SharedStore>,
        host: Arc<TestHost>,
        settings: Settings,
        default: Option<DefaultWebhook>,
        act: impl Fn(&str, usize) -> Act + Send + Sync + 'static,
    ) -> Self {
        let receivers = Receivers::new(host.clone(), act);
        let webhooks = Webhooks {
            sender: receivers.clone(),
            policy: Arc::default(),
            default,
        };
        let models = FakeModels::new(|_, _| Answer::Text("done"));
        let fixture = Fixture::telling(
            store.clone(),
            host.clone(),
            settings,
            models,
            Some(webhooks),
        );
        Self {
            fixture,
            receivers,
            store,
            host,
        }
    }

    /// A valid request whose end is told there.
    fn to(&self, url: &str) -> RunRequest {
        let webhook = self.fixture.service.webhook(url, Some(SECRET));
        RunRequest {
            webhook: Some(webhook.expect("a good webhook")),
            ..request()
        }
    }

    /// Runs a job whose end is told there.
    async fn run(&self, url: &str) -> Job {
        self.run_as(self.to(url)).await
    }

    async fn run_as(&self, request: RunRequest) -> Job {
        let fixture = &self.fixture;
        let accepted = fixture.service.submit(&fixture.workflow, request).await;
        fixture.ended(&accepted.unwrap()).await
    }

    async fn delivery(&self, id: JobId) -> Delivery {
        let job = self.store.memory.get(id).await.unwrap().unwrap();
        job.webhook.expect("it has a webhook")
    }

    /// Waits until a delivery stands so.
    async fn reaches(&self, id: JobId, state: DeliveryState) -> Delivery {
        until(async || self.delivery(id).await.state == state).await;
        self.delivery(id).await
    }
}

fn default_webhook(secret: Option<&str>) -> DefaultWebhook {
    DefaultWebhook {
        url: "https://default.example/hook?key=k".parse().unwrap(),
        key: secret.map(|secret| secret.parse().unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_once_with_the_jobs_document() {
    let telling = Telling::new(|_, _| Act::Answer(200));
    let job = telling.run("https://a.example/hook?key=k").await;
    let delivery = telling.reaches(job.id, DeliveryState::Delivered).await;
    assert_eq!(
        delivery,
        Delivery {
            url: "https://a.example/hook".into(),
            state: DeliveryState::Delivered,
            attempts: 1,
            last_error: None,
            next_attempt_at: None,
        }
    );
    let messages = telling.receivers.messages();
    let [message] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(message.url, "https://a.example/hook?key=k");
    assert_eq!(message.header("webhook-id"), format!("msg_{}", job.id));
    assert_eq!(message.header("content-type"), "application/json");
    assert!(message.header("webhook-signature").starts_with("v1,"));
    let body = &message.body;
    assert_eq!(body["type"], json!("job.completed"));
    assert_eq!(body["timestamp"], body["data"]["completed_at"]);
    let mut document = json!(service::document::Document::from(&job));
    document.as_object_mut().unwrap().remove("webhook");
    assert_eq!(body["data"], document);
    assert_eq!(body["data"]["outputs"]["b"], json!("done"));
    pass_days().await;
    assert_eq!(telling.receivers.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_end_has_its_name() {
    let receivers_of = |telling: &Telling| telling.receivers.messages().remove(0).body;
    let telling = Telling::new(|_, _| Act::Answer(204));
    let poor = RunRequest {
        budget: Budget {
            max_llm_calls: Some(1),
            ..Budget::default()
        },
        ..telling.to("https://a.example/")
    };
    let job = telling.run_as(poor).await;
    assert_eq!(job.status, Status::Failed);
    telling.reaches(job.id, DeliveryState::Delivered).await;
    let body = receivers_of(&telling);
    assert_eq!(body["type"], json!("job.failed"));
    assert_eq!(body["data"]["problem"]["code"], json!("budget_exceeded"));

    let settings = Settings {
        max_running: 0,
        ..Settings::default()
    };
    let telling = Telling::with(settings, None, |_, _| Act::Answer(204));
    let fixture = &telling.fixture;
    let waiting = telling.to("https://a.example/");
    let accepted = fixture.service.submit(&fixture.workflow, waiting).await;
    let id = accepted.unwrap().id;
    assert_eq!(telling.delivery(id).await.state, DeliveryState::Waiting);
    fixture.service.cancel(id).await.unwrap();
    telling.reaches(id, DeliveryState::Delivered).await;
    assert_eq!(receivers_of(&telling)["type"], json!("job.cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_try_is_repeated_with_the_same_id_and_body_and_a_fresh_time() {
    let telling = Telling::new(|_, number| match number {
        1 => Act::Answer(500),
        2 => Act::Unreachable,
        3 => Act::Answer(302),
        _ => Act::Answer(200),
    });
    let job = telling.run("https://a.example/").await;
    until(async || telling.delivery(job.id).await.last_error.is_some()).await;
    let delivery = telling.delivery(job.id).await;
    assert_eq!(delivery.state, DeliveryState::Pending);
    assert_eq!(
        delivery.last_error.as_deref(),
        Some("the receiver answered 500")
    );
    assert!(delivery.next_attempt_at.is_some());
    // Second by second, unlike `reaches`.
    tokio::time::sleep(90 * SECOND).await;
    let delivery = telling.delivery(job.id).await;
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!((delivery.attempts, delivery.last_error), (4, None));

    let messages = telling.receivers.messages();
    let seconds: Vec<i64> = messages
        .iter()
        .map(|message| message.header("webhook-timestamp").parse().unwrap())
        .collect();
    let waits: Vec<i64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Three quarters of 5, 15 and 45 s, and up to a second until the store is looked at.
    for (wait, expected) in waits.iter().zip([3, 11, 33]) {
        assert!((expected..=expected + 2).contains(wait), "{waits:?}");
    }
    for message in &messages {
        assert_eq!(message.body, messages[0].body);
        assert_eq!(
            message.header("webhook-id"),
            messages[0].header("webhook-id")
        );
    }
    let signatures: std::collections::HashSet<_> = messages
        .iter()
        .map(|message| message.header("webhook-signature"))
        .collect();
    assert_eq!(signatures.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_never_takes_it_is_given_up_after_a_day() {
    let telling = Telling::new(|_, _| Act::Answer(400));
    let job = telling.run("https://a.example/").await;
    let begun = telling.host.now();
    let delivery = telling.reaches(job.id, DeliveryState::GivenUp).await;
    assert_eq!(
        delivery.last_error.as_deref(),
        Some("the receiver answered 400")
    );
    assert_eq!(delivery.next_attempt_at, None);
    let took = Duration::try_from(telling.host.now().duration_since(begun)).unwrap();
    assert!(
        took <= GIVE_UP_AFTER && took > GIVE_UP_AFTER / 2,
        "{took:?}"
    );
    let messages = telling.receivers.messages().len();
    assert_eq!(messages, delivery.attempts as usize);
    pass_days().await;
    assert_eq!(telling.receivers.messages().len(), messages);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_wants_no_more_gets_no_more() {
    let telling = Telling::new(|_, _| Act::Answer(410));
    let job = telling.run("https://a.example/").await;
    let delivery = telling.reaches(job.id, DeliveryState::Gone).await;
    assert_eq!(delivery.attempts, 1);
    assert!(delivery.last_error.unwrap().contains("410"));
    pass_days().await;
    assert_eq!(telling.receivers.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_time_gets_it() {
    let telling = Telling::new(|_, number| match number {
        1 => Act::Busy(600),
        _ => Act::Answer(200),
    });
    let job = telling.run("https://a.example/").await;
    telling.reaches(job.id, DeliveryState::Delivered).await;
    let times: Vec<Duration> = telling.receivers.messages().iter().map(|m| m.at).collect();
    assert!(times[1] >= times[0] + 600 * SECOND, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_keeps_nobody_else_waiting() {
    let telling = Telling::new(|host, _| match host {
        "slow.example" => Act::Hang,
        _ => Act::Answer(200),
    });
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(telling.run("https://slow.example/").await);
    }
    until(async || telling.receivers.in_flight() == 16).await;
    let begun = telling.host.elapsed();
    for _ in 0..50 {
        let job = telling.run("https://quick.example/").await;
        telling.reaches(job.id, DeliveryState::Delivered).await;
    }
    let took = telling.host.elapsed().saturating_sub(begun);
    assert!(took < 10 * SECOND, "{took:?}");
    assert_eq!(telling.receivers.most_in_flight("slow.example"), 16);
    until(async || telling.delivery(slow[0].id).await.last_error.is_some()).await;
    let error = telling.delivery(slow[0].id).await.last_error.unwrap();
    assert!(error.contains("did not answer within 15 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_names_no_webhook_has_the_servers() {
    let default = Some(default_webhook(Some(SECRET)));
    let telling = Telling::with(Settings::default(), default, |_, _| Act::Answer(200));
    let job = telling.run_as(request()).await;
    let delivery = telling.reaches(job.id, DeliveryState::Delivered).await;
    assert_eq!(&*delivery.url, "https://default.example");
    let own = telling.run("https://own.example/").await;
    telling.reaches(own.id, DeliveryState::Delivered).await;
    let messages = telling.receivers.messages();
    let urls: Vec<&str> = messages.iter().map(|message| &*message.url).collect();
    assert_eq!(
        urls,
        ["https://default.example/hook?key=k", "https://own.example/"]
    );
    assert!(messages[0].header("webhook-signature").starts_with("v1,"));
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_a_message_has_no_signature() {
    let default = Some(default_webhook(Some(SECRET)));
    let telling = Telling::with(Settings::default(), default, |_, _| Act::Answer(200));
    let webhook = telling.fixture.service.webhook("https://a.example/", None);
    let unsigned = RunRequest {
        webhook: Some(webhook.unwrap()),
        ..request()
    };
    let job = telling.run_as(unsigned).await;
    telling.reaches(job.id, DeliveryState::Delivered).await;
    // The server's own secret signs for the server's own receiver alone.
    let message = telling.receivers.messages().remove(0);
    assert_eq!(message.header("webhook-signature"), "");
    assert!(!message.header("webhook-id").is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_servers_webhook_is_that_of_the_time_of_delivery() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let settings = Settings::default;
    let first = Telling::on(
        store.clone(),
        host.clone(),
        settings(),
        Some(default_webhook(None)),
        |_, _| Act::Unreachable,
    );
    let job = first.run_as(request()).await;
    until(async || first.delivery(job.id).await.last_error.is_some()).await;
    first.fixture.service.drain(SECOND).await;

    let without = Telling::on(store.clone(), host.clone(), settings(), None, |_, _| {
        Act::Answer(200)
    });
    until(async || {
        let error = without.delivery(job.id).await.last_error;
        error.is_some_and(|error| error.contains("no longer has a default webhook"))
    })
    .await;
    without.fixture.service.drain(SECOND).await;
    assert!(without.receivers.messages().is_empty());

    let other = Some(DefaultWebhook {
        url: "https://other.example/".parse().unwrap(),
        key: None,
    });
    let third = Telling::on(store, host, settings(), other, |_, _| Act::Answer(200));
    third.reaches(job.id, DeliveryState::Delivered).await;
    assert_eq!(third.receivers.messages()[0].url, "https://other.example/");
}

/// A job with a webhook that a process ran to its end before it died.
async fn ended_by_the_dead(store: &SharedStore, host: &TestHost, url: &str) -> JobId {
    let workflow = chain(&["a", "b"]);
    let webhook = jobs::webhook::Webhook {
        shown: url.into(),
        host: url.into(),
        target: Some(jobs::webhook::Target {
            url: jobs::webhook::Hidden::from(url),
            secret: None,
        }),
    };
    let job = NewJob {
        id: JobId(host.new_id()),
        workflow: workflow.name.clone(),
        definition: workflow.definition.clone(),
        workload: Workload {
            inputs: Json::of(&json!({"topic": "bees"})),
            options: None,
            progress: None,
        },
        metadata: None,
        created_at: host.now(),
        deadline: None,
        owner: None,
        retried_from: None,
        idempotency: None,
        webhook: Some(webhook),
        level: 1,
    };
    let options = SubmitOptions {
        claim: Some(ReplicaId(uuid::Uuid::from_u128(4))),
        ..SubmitOptions::default()
    };
    let submitted = store.submit(job, options).await.unwrap();
    let Submitted::New(Some(claimed)) = submitted else {
        panic!("{submitted:?}")
    };
    let ending = jobs::job::Ending {
        end: jobs::job::End::Completed,
        outputs: Some(Json::of(&json!({"b": "done"}))),
        error: None,
        problem: None,
        usage: None,
        execution_time_ms: 1,
        at: host.now(),
    };
    let ended = store.finish(&claimed.lease, ending, Vec::new()).await;
    ended.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_owed_is_told_by_the_next() {
    let (store, host) = (Arc::new(SharedStore::default()), Arc::new(TestHost::new()));
    let untried = ended_by_the_dead(&store, &host, "https://a.example/").await;
    let being_tried = ended_by_the_dead(&store, &host, "https://b.example/").await;
    let long_ago = host.now();
    let capacity = DeliveryCapacity {
        total: 1,
        per_host: 1,
        ..DeliveryCapacity::default()
    };
    let claimed = store.claim_deliveries(&capacity, HOUR, host.now()).await;
    assert_eq!(claimed.unwrap()[0].lease.job, untried);
    // Long after it would have been given up, it is tried once more.
    tokio::time::advance(3 * GIVE_UP_AFTER).await;
    let exclusive = Settings {
        exclusive_store: true,
        ..Settings::default()
    };
    let telling = Telling::on(store, host, exclusive, None, |host, _| match host {
        "a.example" => Act::Answer(200),
        _ => Act::Answer(500),
    });
    let told = telling.reaches(untried, DeliveryState::Delivered).await;
    assert_eq!(told.attempts, 2);
    let given_up = telling.reaches(being_tried, DeliveryState::GivenUp).await;
    assert_eq!(given_up.attempts, 1);
    let message = &telling.receivers.messages()[0];
    let seconds: i64 = message.header("webhook-timestamp").parse().unwrap();
    assert!(seconds > long_ago.as_second() + 3 * 24 * 3600 - 1);
}

#[tokio::test(start_paused = true)]
async fn without_retention_a_job_stays_until_it_is_told() {
    let settings = Settings {
        retention: Duration::ZERO,
        ..Settings::default()
    };
    let telling = Telling::with(settings, None, |_, number| match number {
        1 | 2 => Act::Answer(500),
        _ => Act::Answer(200),
    });
    let job = telling.run("https://a.example/").await;
    until(async || telling.delivery(job.id).await.attempts == 2).await;
    assert!(telling.fixture.service.get(job.id).await.unwrap().is_some());
    until(async || telling.store.memory.get(job.id).await.unwrap().is_none()).await;
    assert_eq!(telling.receivers.messages().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_tries_get_a_moment_and_the_rest_stays_owed() {
    let telling = Telling::new(|host, _| match host {
        "slow.example" => Act::After(2 * SECOND),
        _ => Act::Hang,
    });
    let slow = telling.run("https://slow.example/").await;
    let hanging = telling.run("https://hang.example/").await;
    until(async || telling.receivers.in_flight() == 2).await;
    telling.fixture.service.drain(SECOND).await;
    assert_eq!(
        telling.delivery(slow.id).await.state,
        DeliveryState::Delivered
    );
    let owed = telling.delivery(hanging.id).await;
    assert_eq!((owed.state, owed.attempts), (DeliveryState::Pending, 0));
    assert!(owed.next_attempt_at.is_some());
}

/// A replica that delivers no webhooks, or none any more, has another one look at once.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_another_replica_has_to_deliver_is_tried_at_once_where_there_are_signals() {
    for (has_signals, most) in [(true, SECOND / 10), (false, 2 * SECOND)] {
        let (memory, host) = (Arc::default(), Arc::new(TestHost::new()));
        let receivers = Receivers::new(host.clone(), |_, _| Act::Answer(204));
        let signals = InProcess::default();
        let replica = |webhooks| {
            let signals: Arc<dyn Signals> = if has_signals {
                Arc::new(signals.join())
            } else {
                Arc::new(NoSignals)
            };
            let models = FakeModels::new(|_, _| Answer::After(7 * SECOND, "done"));
            let (store, settings) = (SharedStore::of_several(&memory), Settings::default());
            Fixture::sharing(
                Arc::new(store),
                signals,
                host.clone(),
                settings,
                models,
                webhooks,
            )
        };
        let running = replica(None);
        let delivering = replica(Some(Webhooks {
            sender: receivers.clone(),
            policy: Arc::default(),
            default: None,
        }));
        let webhook = delivering
            .service
            .webhook("https://a.example/", Some(SECRET));
        let to_be_told = RunRequest {
            webhook: Some(webhook.unwrap()),
            ..request()
        };
        let accepted = running.service.submit(&running.workflow, to_be_told).await;
        running.ended(&accepted.unwrap()).await;
        let ended = host.elapsed();
        until(async || !receivers.messages().is_empty()).await;
        assert_eq!(running.models.all_calls(), 2, "it ran there");
        let waited = receivers.messages()[0].at.saturating_sub(ended);
        assert!(waited <= most, "signals: {has_signals}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_lost_with_the_process_is_told_from_before_the_end() {
    let host = Arc::new(TestHost::new());
    let receivers = Receivers::new(host.clone(), |_, number| match number {
        1 => Act::Answer(500),
        _ => Act::Answer(200),
    });
    let webhooks = Webhooks {
        sender: receivers.clone(),
        policy: Arc::default(),
        default: Some(default_webhook(None)),
    };
    let models = FakeModels::new(|_, _| Answer::After(SECOND, "done"));
    let store = Arc::new(MemoryStore::default());
    let settings = Settings::default();
    let fixture = Fixture::telling(store, host, settings, models, Some(webhooks));
    fixture.submit().await;
    fixture.service.drain(HOUR).await;
    assert_eq!(receivers.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_told_where_the_first_was() {
    let telling = Telling::new(|_, _| Act::Answer(200));
    let job = telling.run("https://a.example/").await;
    telling.reaches(job.id, DeliveryState::Delivered).await;
    let from = RetryFrom::Node("b".to_owned());
    let again = telling.fixture.service.retry(job.id, from).await.unwrap();
    telling.reaches(again.id, DeliveryState::Delivered).await;
    let messages = telling.receivers.messages();
    let ids: Vec<&str> = messages.iter().map(|m| m.header("webhook-id")).collect();
    assert_eq!(ids[1], format!("msg_{}", again.id));
    assert_eq!(messages[0].url, messages[1].url);
    assert!(!messages[1].header("webhook-signature").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_for_a_while_loses_no_webhook() {
    let telling = Telling::new(|_, _| Act::After(SECOND));
    let job = telling.run("https://a.example/").await;
    until(async || telling.receivers.in_flight() == 1).await;
    telling.store.set_down(true);
    tokio::time::sleep(20 * SECOND).await;
    telling.store.set_down(false);
    telling.reaches(job.id, DeliveryState::Delivered).await;
    assert_eq!(telling.receivers.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_webhook_is_told_together() {
    let telling = Telling::new(|_, _| Act::Answer(200));
    let check = |url: &str, secret: Option<&str>, faults: usize| {
        let checked = telling.fixture.service.webhook(url, secret);
        assert_eq!(checked.err().unwrap_or_default().len(), faults, "{url}");
    };
    check("https://a.example/", None, 0);
    check("https://a.example/", Some(SECRET), 0);
    check("http://127.0.0.1/", None, 1);
    check("https://a.example/", Some("secret"), 1);
    check("nonsense", Some("secret"), 2);

    let silent = Fixture::new(|_, _| Answer::Text("done"));
    let refused = silent.service.webhook("https://a.example/", None);
    assert_eq!(refused.err(), Some(vec![WebhookFault::NotSupported]));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_secret_is_in_what_is_told_shown_or_printed() {
    let telling = Telling::new(|_, _| Act::Answer(500));
    let request = telling.to("https://user:letmein@a.example/hook?key=letmein");
    let printed = format!("{request:?}");
    let job = telling.run_as(request).await;
    until(async || telling.delivery(job.id).await.last_error.is_some()).await;
    let job = telling.store.memory.get(job.id).await.unwrap().unwrap();
    let document = json!(service::document::Document::from(&job));
    let events = telling.fixture.all_events(job.id, 0).await;
    let message: Message = telling.receivers.messages().remove(0);
    let body: Value = message.body;
    let secret = SECRET.trim_start_matches("whsec_");
    for text in [
        printed,
        document.to_string(),
        format!("{job:?}"),
        format!("{events:?}"),
        body.to_string(),
    ] {
        assert!(
            !text.contains("letmein") && !text.contains(secret),
            "{text}"
        );
    }
}
