//! Breadth-first search over every state a model can reach.
//!
//! A model names its first state, the steps possible in a state, what must hold in every state and
//! what must hold in a state of rest, where nothing is left that is bound to happen. The search
//! visits all of it and answers with the shortest way to the first thing that is wrong. It knows
//! nothing of stock; that is the business of the models.

use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::reached::Reached;
use crate::violation::Violation;

/// A small protocol to be searched.
pub(crate) trait Model {
    /// Everything that distinguishes one moment from another.
    type State: Copy + Eq + Hash;

    /// The one state in which all runs begin.
    fn initial(&self) -> Self::State;

    /// Adds every step that can happen next.
    fn steps(&self, state: &Self::State, steps: &mut Steps<Self::State>);

    /// What is wrong in this state, whatever happens next.
    fn broken(&self, state: &Self::State) -> Option<Violation>;

    /// What is wrong in this state when nothing more is bound to happen.
    fn unsettled(&self, state: &Self::State) -> Option<Violation>;
}

/// Whether a step is bound to happen unless another comes first, or may as well never happen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chance {
    /// A process that runs will take it: a state that offers it is not at rest.
    Bound,
    /// A crash, a lost message, a customer's whim: rest states may still offer it.
    Perhaps,
}

/// The name of a step, put together only when a counterexample is printed.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    actor: &'static str,
    index: usize,
    action: &'static str,
}

impl Label {
    /// Names what `actor` number `index` does.
    pub(crate) const fn new(actor: &'static str, index: usize, action: &'static str) -> Self {
        Self { actor, index, action }
    }

    /// The same actor doing something else.
    pub(crate) const fn does(self, action: &'static str) -> Self {
        Self { action, ..self }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.actor, self.index, self.action)
    }
}

/// The steps possible in one state.
pub(crate) struct Steps<State> {
    list: Vec<(Label, Chance, State)>,
}

impl<State: Copy + Eq> Steps<State> {
    /// A step that is bound to happen unless another comes first.
    pub(crate) fn bound(&mut self, label: Label, state: State) {
        self.list.push((label, Chance::Bound, state));
    }

    /// A step that may happen or not.
    pub(crate) fn perhaps(&mut self, label: Label, state: State) {
        self.list.push((label, Chance::Perhaps, state));
    }

    /// Nothing that changes the state is bound to happen.
    fn at_rest(&self, from: &State) -> bool {
        self.list.iter().all(|(_, chance, state)| *chance == Chance::Perhaps || state == from)
    }
}

/// How a search ended.
pub(crate) enum Verdict {
    /// Every reachable state was visited and all was well.
    Holds {
        /// How many of the states were states of rest.
        rests: usize,
    },
    /// Something is wrong, and this is the shortest way to it.
    Caught {
        /// What is wrong in the last state.
        violation: Violation,
        /// The steps that lead there.
        trace: Vec<String>,
    },
    /// There are more states than the search was allowed to visit.
    TooLarge,
}

/// The verdict and what it cost.
pub(crate) struct Report {
    /// How the search ended.
    pub(crate) verdict: Verdict,
    states: usize,
    transitions: usize,
    took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Holds { rests } => write!(out, "holds, {rests} rest states")?,
            Verdict::Caught { violation, trace } => {
                write!(out, "caught after {} steps, {violation}", trace.len())?;
            }
            Verdict::TooLarge => write!(out, "too large, nothing found so far")?,
        }
        let seconds = self.took.as_secs_f32();
        write!(out, " [{} states, {} transitions, {seconds:.1} s]", self.states, self.transitions)
    }
}

/// Visits the states of `model` in the order of their distance, at most `limit` of them.
pub(crate) fn search<M: Model>(model: &M, limit: usize) -> Report {
    let started = Instant::now();
    let mut reached = Reached::new(model.initial());
    let mut steps = Steps { list: Vec::new() };
    let (mut visited, mut transitions, mut rests) = (0, 0, 0);
    let verdict = loop {
        let Some(state) = reached.state(visited) else {
            break Verdict::Holds { rests };
        };
        if reached.count() > limit {
            break Verdict::TooLarge;
        }
        let mut violation = model.broken(&state);
        steps.list.clear();
        if violation.is_none() {
            model.steps(&state, &mut steps);
            if steps.at_rest(&state) {
                rests += 1;
                violation = model.unsettled(&state);
            }
        }
        if let Some(violation) = violation {
            let trace = trace(model, &reached.path(visited));
            break Verdict::Caught { violation, trace };
        }
        transitions += steps.list.len();
        for (_, _, next) in &steps.list {
            reached.add(*next, visited);
        }
        visited += 1;
    };
    Report { verdict, states: reached.count(), transitions, took: started.elapsed() }
}

/// Names the steps between the states of a path by asking the model again.
fn trace<M: Model>(model: &M, path: &[M::State]) -> Vec<String> {
    let mut names = Vec::new();
    let mut steps = Steps { list: Vec::new() };
    for pair in path.windows(2) {
        steps.list.clear();
        model.steps(&pair[0], &mut steps);
        let taken = steps.list.iter().find(|(_, _, state)| *state == pair[1]);
        names.extend(taken.map(|(label, _, _)| label.to_string()));
    }
    names
}
