//! One transaction of many verbs: nearly always one trip, since the statements and the commit are sent
//! without waiting. That is sound because no statement depends on another's answer: what is refused is
//! just missing in it. Submissions with conditions need a trip more, before.

use super::admission::{decide, give_keys_back};
use super::commands::{Answer, Checkpoint, Finish, Outcome, Submission, Verb};
use super::endings::{self, end, save};
use super::fault::Failure;
use super::known::Known;
use super::sessions::{Session, Transaction};
use super::submission::{self, insert, learn};
use super::tally::touch;
use crate::store::Error;

/// The verbs by kind, each with its place in the batch, in the order of their jobs.
struct Kinds<'a> {
    submissions: Vec<(usize, &'a Submission)>,
    checkpoints: Vec<(usize, &'a Checkpoint)>,
    finishes: Vec<(usize, &'a Finish)>,
    pings: Vec<usize>,
}

impl<'a> Kinds<'a> {
    fn of(verbs: &[&'a Verb]) -> Self {
        let mut in_order: Vec<(usize, &Verb)> = verbs.iter().copied().enumerate().collect();
        in_order.sort_by_key(|(_, verb)| verb.job());
        let mut kinds = Self {
            submissions: Vec::new(),
            checkpoints: Vec::new(),
            finishes: Vec::new(),
            pings: Vec::new(),
        };
        for (place, verb) in in_order {
            match verb {
                Verb::Submit(submission) => kinds.submissions.push((place, submission)),
                Verb::Checkpoint(checkpoint) => kinds.checkpoints.push((place, checkpoint)),
                Verb::Finish(finish) => kinds.finishes.push((place, finish)),
                Verb::Ping => kinds.pings.push(place),
            }
        }
        kinds
    }
}

/// Commits verbs of different jobs together; returns their outcomes in their order. After a failure
/// nothing of them was committed, unless the connection was lost: then it is not known.
pub(super) async fn write(
    session: &mut Session,
    verbs: &[&Verb],
    known: &Known,
) -> Result<Vec<Outcome>, Failure> {
    let kinds = Kinds::of(verbs);
    let mut outcomes: Vec<Option<Outcome>> = verbs.iter().map(|_| None).collect();
    let submissions: Vec<&Submission> = kinds.submissions.iter().map(|(_, one)| *one).collect();
    let checkpoints: Vec<&Checkpoint> = kinds.checkpoints.iter().map(|(_, one)| *one).collect();
    let finishes: Vec<&Finish> = kinds.finishes.iter().map(|(_, one)| *one).collect();

    let transaction = session.begin();
    let has_conditions = submissions.iter().any(|one| one.has_conditions());
    let (mut admitted, mut refused) = (submissions, Vec::new());
    if has_conditions {
        let decisions = decide(&transaction, &admitted, known).await?;
        admitted.clear();
        for ((place, one), decision) in kinds.submissions.iter().zip(decisions) {
            match decision {
                None => admitted.push(one),
                Some(outcome) => {
                    refused.push(*one);
                    outcomes[*place] = Some(outcome);
                }
            }
        }
    }
    let begun = async {
        if has_conditions {
            return Ok(());
        }
        transaction.begun().await
    };
    let (begun, given_back, inserted, saved, ended, touched, committed) = futures_util::join!(
        begun,
        give_keys_back(&transaction, &refused),
        insert(&transaction, &admitted, known),
        save(&transaction, &checkpoints),
        end(&transaction, &finishes),
        ping(&transaction, &kinds.pings),
        transaction.committed(),
    );
    // The first that failed says why; those after it only that something has.
    begun?;
    given_back?;
    let inserted = inserted?;
    let saved = saved?;
    let mut ended = ended?;
    touched?;
    committed?;
    transaction.ended();
    learn(&admitted, &inserted, known);

    let mut again = Again::default();
    for (place, one) in kinds.submissions {
        if inserted.contains(&one.new.id) {
            outcomes[place] = Some(Ok(one.answer()));
        } else if outcomes[place].is_none() {
            again.submissions.push((place, one));
        }
    }
    for (place, one) in kinds.checkpoints {
        let job = one.lease.job;
        let is_held = saved.contains(&job);
        outcomes[place] = Some(is_held.then_some(Answer::Done).ok_or(Error::LeaseLost(job)));
    }
    for (place, one) in kinds.finishes {
        match ended.remove(&one.lease.job) {
            Some(job) => outcomes[place] = Some(Ok(Answer::Ended(Box::new(job)))),
            None => again.finishes.push((place, one)),
        }
    }
    for place in kinds.pings {
        outcomes[place] = Some(Ok(Answer::Done));
    }
    again.answer(session, &mut outcomes).await?;
    let outcomes = outcomes.into_iter();
    Ok(outcomes
        .map(|outcome| outcome.expect("every verb is of one kind, and each kind was answered"))
        .collect())
}

/// Verbs that changed nothing: most likely they are repeated, since an answer was lost.
#[derive(Default)]
struct Again<'a> {
    submissions: Vec<(usize, &'a Submission)>,
    finishes: Vec<(usize, &'a Finish)>,
}

impl Again<'_> {
    async fn answer(
        self,
        session: &Session,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Failure> {
        if !self.submissions.is_empty() {
            let (places, all): (Vec<usize>, Vec<_>) = self.submissions.into_iter().unzip();
            let answers = submission::answers_again(session, &all).await?;
            for (place, answer) in places.into_iter().zip(answers) {
                outcomes[place] = Some(answer);
            }
        }
        if !self.finishes.is_empty() {
            let (places, all): (Vec<usize>, Vec<_>) = self.finishes.into_iter().unzip();
            let answers = endings::answers_again(session, &all).await?;
            for (place, answer) in places.into_iter().zip(answers) {
                outcomes[place] = Some(answer);
            }
        }
        Ok(())
    }
}

async fn ping(transaction: &Transaction<'_>, pings: &[usize]) -> Result<(), Failure> {
    if pings.is_empty() {
        return Ok(());
    }
    touch(transaction).await
}
