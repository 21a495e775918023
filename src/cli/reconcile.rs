//! `holdfast reconcile`: looks whether everything agrees, beside the running service, and puts right what can be.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;

use crate::app;
use crate::config::Settings;
use crate::reconcile::{Inconsistency, Reconciled};

/// Who did it, for the record: whoever may start commands here.
const ACTOR: &str = "system:reconcile";

/// What `holdfast reconcile` takes.
#[derive(Args, Debug)]
pub struct ReconcileArgs {
    /// Look only; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Looks, heals, and prints what was found. An error: something was found that is left to a person.
pub async fn run(
    args: &ReconcileArgs,
    settings: Settings,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let reconcile = app::reconcile(&settings).await?;
    let bar = if std::io::stderr().is_terminal() && !args.json {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    bar.enable_steady_tick(Duration::from_millis(100));
    let told = |what, many| bar.set_message(format!("{many} {what}"));
    let report = reconcile.run(args.dry_run, ACTOR, told).await.context("it was cut short")?;
    bar.finish_and_clear();
    if args.json {
        writeln!(out, "{:#}", serde_json::to_value(&report)?)?;
    } else {
        print(&report, out)?;
    }
    let left = report.left();
    anyhow::ensure!(left == 0, "{left} of {} findings are left", report.findings.len());
    Ok(())
}

fn print(report: &Reconciled, out: &mut impl Write) -> std::io::Result<()> {
    let checked = &report.checked;
    writeln!(
        out,
        "looked at {} products, {} holds, {} orders, {} payments, {} movements in {} ms",
        checked.products,
        checked.holds,
        checked.orders,
        checked.payments,
        checked.movements,
        report.took_ms
    )?;
    if report.findings.is_empty() {
        return writeln!(out, "everything agrees");
    }
    let titles = ["what", "whose", "expected", "found", ""];
    let rows: Vec<[&str; 5]> = report.findings.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column]).chain([titles[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for row in [titles].iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    let left = report.findings.iter().filter(|finding| !finding.healed);
    for Inconsistency { kind, subject, advice, .. } in left {
        writeln!(out, "{kind} {subject}: {advice}")?;
    }
    Ok(())
}

fn row(finding: &Inconsistency) -> [&str; 5] {
    let state = if finding.healed { "healed" } else { "left" };
    [&finding.kind, &finding.subject, &finding.expected, &finding.found, state]
}
