//! Verdicts to reports: joined by window, told in the order in which windows closed. It must not know how a verdict
//! came here.

use acgs_lane::{LaneId, message::Verdict};
use acgs_statistics::harm::{Harm, harm};
use acgs_vocabulary::{Finding, JudgeKind, Severity, VerdictStatus};
use acgs_windowing::{WindowKey, watermark::BEGINNING};

use super::{
    Action, Answer, Core, Evidence, Memory, Part, Pending, Report, Summary, evidence, frames::window_of,
    memory,
};
use crate::alert_tracker::Observation;

/// Reports made at once.
const EMIT_MAX: usize = 256;
/// Rows from which the share of late ones is looked at.
const LATE_LOOK_ROWS: u64 = 100;
/// Rules of quality about the cells of one field.
const MISSING: &str = "field_missing_values";
const INVALID: &str = "field_invalid_values";

impl Core {
    /// A lane's judge answered.
    pub fn verdict(&mut self, lane: LaneId, verdict: Verdict, now_us: u64) -> Vec<Action> {
        let window = WindowKey {
            end_ms: verdict.window.end_ms,
            start_ms: verdict.window.start_ms,
            key: std::sync::Arc::clone(&verdict.window.key),
        };
        let revision = verdict.revision;
        let in_time = self.awaited.remove(&(window.clone(), lane, revision));
        let Some(memory) = self.memory_of(&window) else { return Vec::new() };
        let Some(answer) = memory.answers.get_mut(&lane) else { return Vec::new() };
        // What was heard before, or is older than what was, changes nothing.
        let known = answer.verdict.as_ref().is_some_and(|held| held.revision >= revision);
        if revision > answer.revision || known {
            return Vec::new();
        }
        let newest = revision == answer.revision;
        let before = answer.verdict.as_ref().map_or(0, memory::weight);
        match &mut answer.verdict {
            // A judge that has lost the window's panes takes back nothing that was said of them.
            Some(held)
                if verdict.status == VerdictStatus::Unavailable
                    && held.status != VerdictStatus::Unavailable =>
            {
                held.revision = revision;
            }
            held => *held = Some(verdict),
        }
        let after = answer.verdict.as_ref().map_or(0, memory::weight);
        if !in_time && newest {
            // The window was reported without it: it is reported again.
            let revision = memory.next_revision;
            memory.next_revision += 1;
            memory.pending += 1;
            let pending =
                Pending { window, revision, awaited: Vec::new(), deadline_us: now_us, closed_at_us: None };
            self.pending.push_back(pending);
        }
        self.memory.changed(before, after);
        let mut actions = Vec::new();
        self.emit(now_us, &mut actions);
        actions
    }

    /// A lane's judge is gone: what it owes will not come, and it is not asked until it is back.
    pub fn lane_lost(&mut self, lane: LaneId, now_us: u64) -> Vec<Action> {
        self.lost.insert(lane);
        self.awaited.retain(|(_, awaited, _)| *awaited != lane);
        for memory in self.memory.values_mut() {
            if let Some(answer) = memory.answers.get_mut(&lane) {
                answer.waived = true;
            }
        }
        let mut actions = Vec::new();
        self.emit(now_us, &mut actions);
        self.memory.forget_over();
        actions
    }

    /// A judge is there again; it knows the panes that are opened from now on.
    pub fn lane_back(&mut self, lane: LaneId) {
        self.lost.remove(&lane);
        if let Some(told) = self.lanes.get_mut(&lane) {
            told.ticked_ms = BEGINNING;
        }
    }

    /// Reports the windows whose deadline has passed without what is missing.
    pub(super) fn give_up(&mut self, now_us: u64) -> Vec<Action> {
        for pending in self.pending.iter().take_while(|pending| pending.deadline_us <= now_us) {
            for (lane, revision) in &pending.awaited {
                self.awaited.remove(&(pending.window.clone(), *lane, *revision));
            }
        }
        let mut actions = Vec::new();
        self.emit(now_us, &mut actions);
        actions
    }

    /// Reports from the front for as long as nothing is missing; so many at once.
    pub(super) fn emit(&mut self, now_us: u64, actions: &mut Vec<Action>) {
        let mut left = EMIT_MAX;
        self.owes_reports = false;
        while let Some(front) = self.pending.front() {
            let missing = |(lane, revision): &(LaneId, u32)| {
                self.awaited.contains(&(front.window.clone(), *lane, *revision))
            };
            if front.awaited.iter().any(missing) {
                return;
            }
            if left == 0 {
                self.owes_reports = true;
                return;
            }
            left -= 1;
            let Some(pending) = self.pending.pop_front() else { return };
            if let Some(report) = self.report(&pending, now_us) {
                actions.push(Action::Report(Box::new(report)));
            }
        }
    }

    fn report(&mut self, pending: &Pending, now_us: u64) -> Option<Report> {
        let judges = self.spec.judges.clone();
        let memory = self.memory_of(&pending.window)?;
        let part = |judge: &JudgeKind| {
            let lane = Self::lane_of(*judge, &pending.window.key);
            let Answer { revision, verdict, .. } = memory.answers.get(&lane).cloned().unwrap_or_default();
            Part { judge: *judge, verdict, revision }
        };
        let mut parts: Vec<Part> = judges.iter().map(part).collect();
        memory.pending -= 1;
        let labels_awaited = memory.labels_awaited;
        if self.memory.get(&pending.window).is_some_and(Memory::is_over) {
            self.memory.remove(&pending.window);
        }
        let window = window_of(&self.spec.stream_id, &pending.window);
        let mut evidence = evidence(self.read_evidence, &mut parts);
        evidence.await_labels(labels_awaited);
        let drift_kinds = evidence.kinds();
        let Evidence { drifted, risk, summary, .. } = evidence;
        let harm = harm(drifted, risk);
        let mut findings = findings(&parts, harm, &summary);
        let mut judged: Vec<JudgeKind> =
            parts.iter().filter(|part| part.status() == VerdictStatus::Ok).map(|part| part.judge).collect();
        let is_revision = pending.revision > 0;
        if !is_revision {
            findings.extend(self.late_rows().map(|finding| (JudgeKind::Quality, finding)));
            if !judges.contains(&JudgeKind::Quality) {
                // Nobody else says anything of it, so that it can end.
                judged.push(JudgeKind::Quality);
            }
        }
        let observation = Observation { window: &window, is_revision, judged: &judged, findings: &findings };
        let alerts = self.tracker.observe(&observation);
        self.report_seq += 1;
        self.totals.reports += 1;
        Some(Report {
            report_seq: self.report_seq,
            window,
            revision: pending.revision,
            parts,
            harm,
            drift_kinds,
            findings,
            alerts,
            latency_us: pending.closed_at_us.map_or(0, |closed_at_us| now_us.saturating_sub(closed_at_us)),
            summary,
        })
    }
}

impl Core {
    /// What came too late for every window since it was looked at last, when there is enough to look at.
    fn late_rows(&mut self) -> Option<Finding> {
        let now = (self.totals.dropped.late, self.totals.accepted_rows);
        let (late, in_time) = (now.0 - self.late_looked.0, now.1 - self.late_looked.1);
        if late + in_time < LATE_LOOK_ROWS {
            return self.late_found.clone();
        }
        self.late_looked = now;
        let (rate, threshold) = (late as f64 / (late + in_time) as f64, self.config.late_rate_max);
        self.late_found = (rate > threshold).then(|| Finding {
            rule: "late_rows".into(),
            subject: String::new(),
            severity: if rate > 2.0 * threshold { Severity::High } else { Severity::Medium },
            value: rate,
            threshold,
            description: format!("{late} of {} rows came after their windows had closed", late + in_time),
        });
        self.late_found.clone()
    }
}

/// All findings; drift is as grave as the harm that it does, and nulls that quality speaks of are its to alert on.
fn findings(parts: &[Part], harm: Harm, summary: &Summary) -> Vec<(JudgeKind, Finding)> {
    let mut all = Vec::new();
    for part in parts {
        let found = part.verdict.iter().flat_map(|verdict| &verdict.findings);
        for finding in found.cloned() {
            all.push((part.judge, weigh(part.judge, finding, harm)));
        }
    }
    if summary.season_known == Some(false) {
        // What is only winter is neither drift nor decay to a reference that has seen one.
        let seasonal = |finding: &Finding| ["drift", "performance_decay"].contains(&finding.rule.as_str());
        for (_, finding) in all.iter_mut().filter(|(_, finding)| seasonal(finding)) {
            finding.description.push_str("; the season is not in the reference");
        }
    }
    link(&mut all, &summary.drifted_features);
    all
}

/// Links what drift says to what quality alerts on: missing cells are quality's to alert on; of nulls that may be numbers which are not finite, and of
/// drift in fields with invalid values, there is more to say than that.
fn link(all: &mut [(JudgeKind, Finding)], drifted_features: &[String]) {
    let nulls = told_by_quality(all, "missing_values", MISSING, MISSING);
    let not_finite = told_by_quality(all, "invalid_values", INVALID, "field_not_finite");
    let invalid = told_by_quality(all, "invalid_values", INVALID, INVALID);
    let alerts = |(judge, it): &(JudgeKind, Finding)| {
        *judge == JudgeKind::Drift && it.rule == "drift" && it.severity > Severity::Low
    };
    if all.iter().any(alerts) {
        let far = |(judge, it): &&mut (JudgeKind, Finding)| {
            *judge == JudgeKind::Quality
                && it.rule == "field_outliers"
                && drifted_features.contains(&it.subject)
        };
        // Where a whole feature has moved, its values are where they are now.
        for (_, finding) in all.iter_mut().filter(far) {
            finding.severity = Severity::Low;
            finding.description.push_str("; drift tells of it");
        }
    }
    for (_, finding) in all.iter_mut().filter(|(judge, _)| *judge == JudgeKind::Drift) {
        match finding.rule.as_str() {
            "null_drift" if nulls.contains(&finding.subject) => {
                finding.severity = Severity::Low;
                finding.description.push_str(&format!("; quality tells of it as {MISSING}"));
            }
            // How many of them are missing cells is not said.
            "null_drift" if not_finite.contains(&finding.subject) => {
                finding.description.push_str("; quality tells of numbers among them that are not finite");
            }
            "drift" => {
                let fields = invalid.iter().filter(|field| drifted_features.contains(field));
                let told = fields.map(|field| format!("; quality tells of {field} as {INVALID}"));
                finding.description.extend(told);
            }
            _ => {}
        }
    }
}

/// Fields that quality alerts on, as far as a note says so: by a rule of each field, or by one of all cells.
fn told_by_quality(all: &[(JudgeKind, Finding)], of_cells: &str, of_field: &str, note: &str) -> Vec<String> {
    let by = |rule: &str| -> Vec<&Finding> {
        let is_it = |(judge, it): &&(JudgeKind, Finding)| *judge == JudgeKind::Quality && it.rule == rule;
        all.iter().filter(is_it).map(|(_, finding)| finding).collect()
    };
    let (all_cells, fields) = (!by(of_cells).is_empty(), by(of_field));
    let is_told = |finding: &&Finding| {
        let alerts = |it: &&Finding| it.subject == finding.subject && it.severity > Severity::Low;
        all_cells || fields.iter().any(alerts)
    };
    by(note).into_iter().filter(is_told).map(|finding| finding.subject.clone()).collect()
}

fn weigh(judge: JudgeKind, mut finding: Finding, harm: Harm) -> Finding {
    if judge == JudgeKind::Drift && finding.rule == "drift" {
        let (severity, what) = match harm {
            Harm::Harmful => (finding.severity.max(Severity::High), "; the loss is worse: retrain"),
            // Two steps less grave than its size.
            Harm::Harmless if finding.severity == Severity::Critical => {
                (Severity::Medium, "; the loss is not worse: no reason to retrain, but look at its source")
            }
            Harm::Harmless => (Severity::Low, "; the loss is not worse: no reason to retrain"),
            Harm::Unknown => (finding.severity, "; the labels cannot tell yet whether it does harm"),
            Harm::None | Harm::Decay => (finding.severity, ""),
        };
        finding.severity = severity;
        finding.description.push_str(what);
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fact_has_one_alert() {
        let finding = |judge, rule: &str, subject: &str, severity| {
            let finding = Finding {
                rule: rule.into(),
                subject: subject.into(),
                severity,
                value: 1.0,
                threshold: 0.1,
                description: String::new(),
            };
            (judge, finding)
        };
        let mostly_missing = finding(JudgeKind::Quality, "field_missing_values", "x", Severity::Low);
        let cells = finding(JudgeKind::Quality, "missing_values", "", Severity::Medium);
        let drift = finding(JudgeKind::Drift, "null_drift", "x", Severity::High);
        let told = |of: &[&(JudgeKind, Finding)]| {
            let mut all: Vec<_> = of.iter().copied().chain([&drift]).cloned().collect();
            link(&mut all, &[]);
            all.pop().unwrap().1.severity == Severity::Low
        };
        assert!(told(&[&mostly_missing, &cells]));
        assert!(!told(&[&mostly_missing]), "a note is no alert");
        assert!(told(&[&finding(JudgeKind::Quality, "field_missing_values", "x", Severity::Medium)]));
        let invalid = finding(JudgeKind::Quality, "invalid_values", "", Severity::High);
        let out_of_range = finding(JudgeKind::Quality, "field_invalid_values", "x", Severity::Low);
        let not_finite = finding(JudgeKind::Quality, "field_not_finite", "x", Severity::Low);
        assert!(!told(&[&invalid, &out_of_range, &not_finite]), "others of its nulls may be missing");
        let moved = finding(JudgeKind::Drift, "drift", "", Severity::High);
        let mut all = [invalid, out_of_range, moved];
        link(&mut all, &["x".to_owned()]);
        assert_eq!(all[2].1.severity, Severity::High, "that x has drifted is more than that");
        assert_eq!(all[2].1.description, "; quality tells of x as field_invalid_values");
    }
}
