//! What must hold once everything has ended, whatever has happened.

use jobs::job::{Job, JobId, Status};
use serde_json::{Value, json};

use super::world::World;
use crate::fixture::problem_code;

/// Everything that does not hold. Where several processes share the store, a job is started again when
/// its process was paused until its lease had lapsed.
pub(super) async fn violations(world: &World, one_process: bool) -> Vec<String> {
    let mut found = Vec::new();
    let jobs = world.jobs().await;
    let mut check = |holds: bool, otherwise: &dyn Fn() -> String| {
        if !holds {
            found.push(otherwise());
        }
    };
    let asked_again = std::mem::take(&mut world.record().asked_again);
    check(asked_again.is_empty(), &|| {
        format!("asked again although the answer was stored: {asked_again:?}")
    });
    let without_lease = std::mem::take(&mut world.record().asked_without_lease);
    check(without_lease.is_empty(), &|| {
        format!("asked by a process whose lease had lapsed: {without_lease:?}")
    });
    let claimed_again = std::mem::take(&mut world.record().claimed_again);
    check(!one_process || claimed_again.is_empty(), &|| {
        format!("started again although they were running: {claimed_again:?}")
    });
    let accepted = world.record().accepted.clone();
    for (id, topic) in &accepted {
        let same_topic = accepted.iter().filter(|(_, other)| other == topic);
        check(jobs.iter().any(|job| job.id == *id), &|| {
            format!("{id} was accepted and is lost")
        });
        check(same_topic.clone().all(|(other, _)| other == id), &|| {
            format!(
                "one key made several jobs: {:?}",
                same_topic.clone().collect::<Vec<_>>()
            )
        });
    }
    for told in world.record().told.drain(..) {
        let now = jobs.iter().find(|job| job.id == told.id);
        check(
            now.is_some_and(|now| {
                (now.status, now.completed_at) == (told.status, told.completed_at)
            }),
            &|| {
                format!(
                    "{} was told to have {:?} and has {:?}",
                    told.id,
                    told.status,
                    now.map(|now| now.status)
                )
            },
        );
    }
    for job in &jobs {
        let whole = world.job(job.id).await;
        let topic = world.topic(job).await;
        let events: Vec<Value> = world
            .events(job.id)
            .await
            .iter()
            .map(|event| event.data.read().unwrap())
            .collect();
        check(job.status.is_final(), &|| {
            format!("{topic} never ended: {:?}", job.status)
        });
        check_end(
            &whole,
            &topic,
            world.record().cancelled.contains(&job.id),
            &mut check,
        );
        check_events(&whole, &topic, &events, &mut check);
        check_calls(world, job.id, &topic, &mut check);
        for (_, seen) in world
            .record()
            .watched
            .iter()
            .filter(|(id, _)| *id == job.id)
        {
            let last = events.last().filter(|last| is_final(last));
            // One that was cancelled while it waited has an end that nobody stored.
            let ids = 1..=events.len() as u64 + u64::from(last.is_none());
            check(seen.iter().copied().eq(ids), &|| {
                format!(
                    "{topic} was watched with a gap or a repetition: {seen:?} of {}",
                    events.len()
                )
            });
        }
    }
    found
}

type Check<'a> = &'a mut dyn FnMut(bool, &dyn Fn() -> String);

fn check_end(job: &Job, topic: &str, was_cancelled: bool, check: Check<'_>) {
    match job.status {
        Status::Completed => {
            let outputs: Value = job.outputs.as_ref().unwrap().read().unwrap();
            check(outputs == expected(topic), &|| {
                format!("{topic} completed wrong: {outputs}")
            });
        }
        Status::Failed => {
            let code = problem_code(job);
            let known = ["model_error", "model_timeout", "deadline_exceeded"];
            check(known.contains(&&*code), &|| {
                format!("{topic} failed: {:?}", job.error)
            });
        }
        Status::Cancelled => {
            check(was_cancelled, &|| {
                format!("{topic} was cancelled by nobody")
            });
        }
        Status::Pending | Status::Running | Status::Waiting | Status::Cancelling => {}
    }
}

fn is_final(event: &Value) -> bool {
    ["run_completed", "run_failed", "run_cancelled"].contains(&event["event"].as_str().unwrap())
}

fn check_events(job: &Job, topic: &str, events: &[Value], check: Check<'_>) {
    let ids = events.iter().map(|event| event["id"].as_u64().unwrap());
    check(ids.clone().eq(1..=events.len() as u64), &|| {
        format!(
            "{topic} has lost events: {:?}",
            ids.clone().collect::<Vec<_>>()
        )
    });
    let ends: Vec<&Value> = events.iter().filter(|event| is_final(event)).collect();
    let ended_as = match (job.status, ends.as_slice()) {
        (Status::Cancelled, []) => true,
        (_, [end]) => {
            *end == events.last().unwrap() && end["event"] == format!("run_{}", job.status.as_str())
        }
        _ => false,
    };
    check(ended_as, &|| {
        format!("{topic} is {:?} and ends with {ends:?}", job.status)
    });

    let completed: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "node_completed")
        .collect();
    let times = |node: &str, item: Option<u64>| {
        let of_it = completed
            .iter()
            .filter(|event| event["node"] == node && event["item"].as_u64() == item);
        of_it.count()
    };
    for (node, item, most) in [
        ("first", None, 1),
        ("side", None, 1),
        ("each", Some(0), 1),
        ("each", Some(1), 1),
        ("each", Some(2), 1),
        ("again", None, 2),
        ("last", None, 1),
    ] {
        let times = times(node, item);
        let right = times == most || job.status != Status::Completed && times < most;
        check(right, &|| {
            format!("{topic}: {node} {item:?} completed {times} times")
        });
    }
    if job.status == Status::Completed {
        let usage: Value = job.usage.as_ref().unwrap().read().unwrap();
        let calls = completed
            .iter()
            .map(|event| event["usage"]["llm_calls"].as_u64().unwrap());
        check(usage["llm_calls"] == calls.sum::<u64>(), &|| {
            format!("{topic} took {usage}")
        });
    }
}

fn check_calls(world: &World, id: JobId, topic: &str, check: Check<'_>) {
    let record = world.record();
    let claims = record.claims.get(&id).copied().unwrap_or(0);
    let prefix = format!("{topic}|");
    for (prompt, calls) in record
        .calls
        .iter()
        .filter(|(prompt, _)| prompt.starts_with(&prefix))
    {
        check(calls.made - calls.failed <= claims, &|| {
            format!("`{prompt}` was asked {calls:?} in {claims} claims")
        });
    }
}

/// The outputs of a run in which every node repeats its prompt.
fn expected(topic: &str) -> Value {
    let each: Vec<String> = (0..3).map(|item| format!("{topic}|each|{item}")).collect();
    let all = format!("['{}']", each.join("', '"));
    let (side, again) = (format!("{topic}|side"), format!("{topic}|again|1|{all}"));
    json!({
        "topic": topic,
        "items": [1, 2, 3],
        "first": format!("{topic}|first"),
        "side": side,
        "each": each[2],
        "all": each,
        "again": again,
        "last": format!("{topic}|last|{again}|{side}"),
    })
}
