//! What routers and time say of deployments, and what follows.

use super::{Answer, Refusal, draft::Draft};
use crate::{
    analysis::{Counts, GateFound, Judgement, judge},
    deployment::{Cause, Deployment, PauseReason, Phase, Tails},
    event::{DeploymentMoved, Guard},
    rollout::{BaselineFailing, Inconclusive},
};

/// Counts that decide nothing are written down this often, at most.
const OBSERVE_MS: i64 = 5_000;

/// So many good blocks later a baseline that failed is taken for well again.
const HEALED_BLOCKS: i64 = 30;

/// Whether something serves beside it that it could be taken back to, as far as its counts go.
fn is_beside(deployment: &Deployment) -> bool {
    let phase = if deployment.phase == Phase::Paused { deployment.before } else { Some(deployment.phase) };
    matches!(phase, Some(Phase::Shadowing | Phase::Shifting | Phase::Analyzing))
}

/// The conditions of a judgement, as evidence and not as its logarithm.
fn guards(judged: &Judgement) -> Vec<Guard> {
    let shown = |ln_evidence: f64| format!("{:.3e}", ln_evidence.min(700.0).exp());
    let mut all = Vec::new();
    for GateFound { gate, ln_bad, ln_good, description } in &judged.gates {
        let bad = *ln_bad >= judged.ln_bad_at;
        let found = format!("{} ({description})", shown(*ln_bad));
        let bound = format!("below {:.0}", judged.ln_bad_at.exp());
        all.push(Guard::new(&format!("{gate}_bad"), !bad, found, bound));
        let good = *ln_good >= judged.ln_good_at;
        let bound = format!("at least {:.0}", judged.ln_good_at.exp());
        all.push(Guard::new(&format!("{gate}_good"), good, shown(*ln_good), bound));
    }
    all
}

impl Draft<'_> {
    /// The candidate is well: it may have copies, or its first weight.
    pub(super) fn prepared(&mut self, number: u64, found: Vec<Guard>) -> Result<Answer, Refusal> {
        let deployment = self.deployment(number)?;
        let well = found.iter().all(|guard| guard.holds);
        if deployment.phase != Phase::Preparing || !well {
            return Ok(Answer::Done);
        }
        let plan = &deployment.plan;
        if plan.shadow_percent > 0 && !deployment.baseline.is_empty() {
            let due_at_ms = self.now_ms() + plan.step_limit_ms;
            self.move_deployment(number, DeploymentMoved::Shadow { due_at_ms }, found)?;
        } else {
            self.next_weight(&deployment, 0, found)?;
        }
        Ok(Answer::Deployment(number))
    }

    /// The step `at`, or everything after the last; also when nothing else serves.
    fn next_weight(&mut self, deployment: &Deployment, at: usize, guards: Vec<Guard>) -> Result<(), Refusal> {
        let moved = match deployment.plan.steps.get(at) {
            Some(weight) if self.model.champion.is_some() => DeploymentMoved::Shift { at, weight: *weight },
            _ => DeploymentMoved::Promote,
        };
        self.move_deployment(deployment.number, moved, guards)
    }

    pub(super) fn route_applied(
        &mut self,
        number: u64,
        epoch: u64,
        confirmed: Vec<String>,
        fenced: Vec<String>,
    ) -> Result<Answer, Refusal> {
        let deployment = self.deployment(number)?;
        let waits = matches!(deployment.phase, Phase::Shifting | Phase::Promoting | Phase::Aborting);
        if !waits || epoch != self.model.route_epoch {
            return Ok(Answer::Done);
        }
        // Nobody routes: there is nothing to take back, and nobody to give anything to.
        let there = !confirmed.is_empty() || deployment.phase == Phase::Aborting;
        if !there {
            return Ok(Answer::Done);
        }
        let guards = vec![
            Guard::new("confirmed", true, confirmed.join(", "), format!("epoch {epoch}")),
            Guard::new("partial", fenced.is_empty(), fenced.join(", "), "none is fenced"),
        ];
        let now_ms = self.now_ms();
        let due_at_ms = match deployment.phase {
            Phase::Shifting => Some(now_ms + deployment.plan.step_limit_ms),
            Phase::Promoting => Some(now_ms + deployment.plan.bake_ms),
            _ => None,
        };
        let moved = DeploymentMoved::Apply { epoch, confirmed, fenced, due_at_ms };
        self.move_deployment(number, moved, guards)?;
        if deployment.phase == Phase::Aborting {
            let cause = deployment.cause.unwrap_or(Cause::Operator);
            self.let_go(&deployment, cause, &deployment.why)?;
        } else if deployment.phase == Phase::Promoting && deployment.plan.bake_ms == 0 {
            self.due_deployment()?;
        }
        Ok(Answer::Deployment(number))
    }

    /// What was counted: what it says is acted on at once, and written down now and then.
    pub(super) fn evidence(
        &mut self,
        number: u64,
        counts: &Counts,
        tails: Option<Tails>,
    ) -> Result<Answer, Refusal> {
        let deployment = self.deployment(number)?;
        let looks = matches!(
            deployment.phase,
            Phase::Preparing | Phase::Shadowing | Phase::Analyzing | Phase::Baking | Phase::Paused
        );
        if !looks || counts.calls() < deployment.counts.calls() {
            return Ok(Answer::Done);
        }
        let judged = judge(counts, &deployment.plan.analysis);
        let timed = tails.is_some() && deployment.tails.is_none();
        let observed = |judged: &Judgement| DeploymentMoved::Observe {
            counts: Box::new(counts.clone()),
            gates: judged.gates.clone(),
            tails,
        };
        if is_beside(&deployment)
            && judged.baseline_fails
            && counts.breaches == 0
            && !deployment.baseline_accepted
        {
            return self.baseline_fails(&deployment, counts, observed(&judged), &judged);
        }
        let worse = self.worse(&deployment, counts, &judged);
        if let Some((why, held)) = worse {
            self.move_deployment(number, observed(&judged), Vec::new())?;
            self.abort(number, Cause::Analysis, &why, held)?;
            return Ok(Answer::Deployment(number));
        }
        let now_ms = self.now_ms();
        let grew = counts.calls() > deployment.counts.calls()
            || counts.shadow.pairs > deployment.counts.shadow.pairs;
        let next = self.better(&deployment, counts, &judged);
        let had = |counts: &Counts| {
            counts.calls() - deployment.calls_before.min(counts.calls()) >= deployment.plan.samples_min
        };
        let baked = deployment.phase == Phase::Baking && had(counts) && !had(&deployment.counts);
        let was_held = deployment.pause == Some(PauseReason::BaselineFailing);
        // Not one that fails now and then.
        let held_ms = HEALED_BLOCKS.saturating_mul(deployment.plan.analysis.error_block_ms);
        let healed =
            was_held && counts.blocks.baseline_failing <= 0.0 && now_ms - deployment.phase_at_ms >= held_ms;
        let every_ms = OBSERVE_MS.min(deployment.plan.no_data_ms / 3);
        if next.is_some()
            || timed
            || healed
            || baked
            || grew && now_ms - deployment.observed_at_ms >= every_ms
        {
            self.move_deployment(number, observed(&judged), Vec::new())?;
        }
        if let Some(held) = next {
            let at = if deployment.phase == Phase::Shadowing { 0 } else { deployment.step + 1 };
            self.next_weight(&deployment, at, held)?;
            return Ok(Answer::Deployment(number));
        }
        if healed {
            self.resume(&deployment, vec![Guard::new("baseline", true, "answers again", "some")])?;
            return Ok(Answer::Deployment(number));
        }
        self.watch_for_data(&deployment, grew)?;
        Ok(Answer::Done)
    }

    /// What serves beside it fails, and it does not: it is never taken back to that. It goes on by policy, or weights are held.
    fn baseline_fails(
        &mut self,
        deployment: &Deployment,
        counts: &Counts,
        observed: DeploymentMoved,
        judged: &Judgement,
    ) -> Result<Answer, Refusal> {
        let number = deployment.number;
        let errors = judged.gates.iter().find(|found| found.gate == "errors");
        let figures = errors.map(|found| found.description.as_str()).unwrap_or_default();
        let why = format!("the baseline fails: errors: {figures}");
        let enough = |gate: &str| {
            judged.gates.iter().any(|found| found.gate == gate && found.ln_good >= judged.ln_good_at)
        };
        let calls = counts.calls();
        let ready = enough("errors") && enough("cancelled") && calls >= deployment.plan.samples_min;
        let by_policy = deployment.plan.baseline_failing == BaselineFailing::Promote
            && deployment.pause.is_none_or(|reason| reason == PauseReason::BaselineFailing);
        if ready && by_policy {
            self.move_deployment(number, observed, Vec::new())?;
            let guards = vec![
                Guard::new(
                    "baseline",
                    false,
                    figures.to_owned(),
                    deployment.plan.analysis.baseline_errors_max,
                ),
                Guard::new("calls", true, calls, format!("at least {}", deployment.plan.samples_min)),
            ];
            self.move_deployment(number, DeploymentMoved::Promote, guards)?;
            return Ok(Answer::Deployment(number));
        }
        match deployment.pause {
            Some(PauseReason::BaselineFailing) => {
                if self.now_ms() - deployment.observed_at_ms >= OBSERVE_MS {
                    self.move_deployment(number, observed, Vec::new())?;
                }
                return Ok(Answer::Done);
            }
            // A person holds it, and decides.
            Some(PauseReason::Manual) => return Ok(Answer::Done),
            // Held for another reason a deadline would return to what fails.
            Some(PauseReason::NoData | PauseReason::Inconclusive) => self.resume(deployment, Vec::new())?,
            None => {}
        }
        // While traffic shifts nothing is counted.
        if self.deployment(number)?.phase != Phase::Shifting {
            self.move_deployment(number, observed, Vec::new())?;
        }
        let guards = vec![Guard::new(
            "baseline",
            false,
            figures.to_owned(),
            deployment.plan.analysis.baseline_errors_max,
        )];
        let moved = DeploymentMoved::Pause { reason: PauseReason::BaselineFailing, why };
        self.move_deployment(number, moved, guards)?;
        Ok(Answer::Deployment(number))
    }

    /// Why a candidate is taken back, if it is.
    fn worse(
        &self,
        deployment: &Deployment,
        counts: &Counts,
        judged: &Judgement,
    ) -> Option<(String, Vec<Guard>)> {
        if counts.breaches > 0 {
            let guards = vec![Guard::new("constitution", false, counts.breaches, 0)];
            return Some(("it answers under another constitution".to_owned(), guards));
        }
        let plan = &deployment.plan;
        if deployment.phase == Phase::Shadowing && counts.shadow.pairs >= plan.shadow_samples.max(1) {
            let share = counts.shadow.different as f64 / counts.shadow.pairs as f64;
            if share > plan.disagreement_max {
                let guards = vec![Guard::new("disagreement", false, share, plan.disagreement_max)];
                return Some((format!("{:.2} % of its answers differ", share * 100.0), guards));
            }
        }
        let gate = judged.bad.as_ref()?;
        let found = judged.gates.iter().find(|found| found.gate == *gate);
        let figures = found.map(|found| found.description.as_str()).unwrap_or_default();
        Some((format!("{gate}: {figures}"), guards(judged)))
    }

    /// What holds when a candidate may have more, if it may.
    fn better(&self, deployment: &Deployment, counts: &Counts, judged: &Judgement) -> Option<Vec<Guard>> {
        let plan = &deployment.plan;
        let stood_ms = self.now_ms() - deployment.phase_at_ms;
        match deployment.phase {
            Phase::Shadowing => {
                let (pairs, asked) = (counts.shadow.pairs, plan.shadow_samples);
                (pairs >= asked && pairs > 0).then(|| {
                    let different =
                        Guard::new("different", true, counts.shadow.different, plan.disagreement_max);
                    vec![Guard::new("compared", true, pairs, asked), different]
                })
            }
            Phase::Analyzing => {
                let calls = counts.calls() - deployment.calls_before.min(counts.calls());
                let enough = judged.good && calls >= plan.samples_min.max(1) && stood_ms >= plan.step_ms;
                enough.then(|| {
                    let mut all = guards(judged);
                    all.push(Guard::new("calls", true, calls, format!("at least {}", plan.samples_min)));
                    all.push(Guard::new("stood", true, stood_ms, format!("at least {} ms", plan.step_ms)));
                    all
                })
            }
            _ => None,
        }
    }

    /// No data is never success: weights are held until there are some.
    fn watch_for_data(&mut self, deployment: &Deployment, grew: bool) -> Result<(), Refusal> {
        let silent_ms = self.now_ms() - deployment.grown_at_ms;
        let limit_ms = deployment.plan.no_data_ms;
        match (deployment.phase, deployment.pause) {
            (Phase::Analyzing | Phase::Baking | Phase::Shadowing, _) if !grew && silent_ms >= limit_ms => {
                if deployment.plan.samples_min == 0 {
                    return Ok(());
                }
                let why = format!("no call of {:?} was seen for {silent_ms} ms", deployment.version);
                let guards = vec![Guard::new("data", false, silent_ms, format!("less than {limit_ms} ms"))];
                let moved = DeploymentMoved::Pause { reason: PauseReason::NoData, why };
                self.move_deployment(deployment.number, moved, guards)
            }
            (Phase::Paused, Some(PauseReason::NoData)) if grew => {
                self.resume(deployment, vec![Guard::new("data", true, "calls again", "some")])
            }
            _ => Ok(()),
        }
    }

    /// Lets time do what it does with the open deployment.
    pub(super) fn due_deployment(&mut self) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let Some(open) = self.model.deployment().cloned() else { return Ok(()) };
        if open.next_due_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(());
        }
        let number = open.number;
        if open.phase == Phase::Aborting {
            let why = "routers did not say that it has nothing; each keeps it out by itself".to_owned();
            self.move_deployment(number, DeploymentMoved::Fail { why }, Vec::new())?;
            return self.let_go(&open, open.cause.unwrap_or(Cause::Operator), &open.why);
        }
        // Nothing is taken back to what fails because it took long.
        let plan = &open.plan;
        let no_more = open.phase == Phase::Analyzing && open.extensions >= plan.extensions;
        let ends = open.progress_due_ms <= now_ms || no_more && plan.inconclusive == Inconclusive::Abort;
        let judged = judge(&open.counts, &open.plan.analysis);
        if ends && is_beside(&open) && judged.baseline_fails {
            let counts = open.counts.clone();
            let (counts, gates) = (Box::new(counts), judged.gates.clone());
            let observed = DeploymentMoved::Observe { counts, gates, tails: None };
            return self.baseline_fails(&open, &open.counts, observed, &judged).map(|_| ());
        }
        if open.progress_due_ms <= now_ms {
            return self.abort(number, Cause::Deadline, "it has taken too long", Vec::new());
        }
        match open.phase {
            Phase::Pending => {
                self.abort(number, Cause::Deadline, "no endpoints were set in time", Vec::new())
            }
            Phase::Preparing => {
                self.abort(number, Cause::Deadline, "its endpoints were not well in time", Vec::new())
            }
            Phase::Baking => self.bake_elapsed(&open),
            Phase::Shadowing | Phase::Analyzing => self.step_limit(&open),
            _ => Ok(()),
        }
    }

    fn bake_elapsed(&mut self, open: &Deployment) -> Result<(), Refusal> {
        let calls = open.counts.calls() - open.calls_before.min(open.counts.calls());
        let asked = open.plan.samples_min;
        let guards = vec![
            Guard::new("baked", true, self.now_ms() - open.phase_at_ms, format!("{} ms", open.plan.bake_ms)),
            Guard::new("calls", calls >= asked, calls, format!("at least {asked}")),
        ];
        if calls >= asked {
            return self.complete(open, guards);
        }
        let why = format!("{calls} calls while it baked, {asked} are asked for");
        let moved = DeploymentMoved::Pause { reason: PauseReason::NoData, why };
        self.move_deployment(open.number, moved, guards)
    }

    fn step_limit(&mut self, open: &Deployment) -> Result<(), Refusal> {
        let plan = &open.plan;
        let guards = || {
            let bound = format!("at most {} extensions", plan.extensions);
            vec![Guard::new("extensions", open.extensions < plan.extensions, open.extensions, bound)]
        };
        if open.extensions < plan.extensions {
            let longer_ms = plan.step_limit_ms.saturating_mul(1_i64 << (open.extensions + 1).min(16));
            let due_at_ms = self.now_ms().saturating_add(longer_ms);
            return self.move_deployment(open.number, DeploymentMoved::Extend { due_at_ms }, guards());
        }
        let why = "neither good nor bad for too long".to_owned();
        match plan.inconclusive {
            Inconclusive::Abort => self.abort(open.number, Cause::Deadline, &why, guards()),
            Inconclusive::Wait => {
                let moved = DeploymentMoved::Pause { reason: PauseReason::Inconclusive, why };
                self.move_deployment(open.number, moved, guards())
            }
        }
    }
}
