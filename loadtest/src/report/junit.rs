//! A result as JUnit XML, so that a CI server shows what was held and what was missed: one case for the stamp, one for the
//! requests, one for the objectives, and one for each threshold.

use super::{Report, tolerates_failures, utc};
use crate::measure::Threshold;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io;

/// How one case ended, with the words for it.
enum Ending {
    Passed(String),
    Skipped(String),
    Failed(String),
}

/// The result as JUnit XML.
///
/// # Errors
/// The library cannot write it, which would be a bug.
pub fn write(report: &Report) -> io::Result<Vec<u8>> {
    let cases = cases(report);
    let failed = cases.iter().filter(|(_, ending)| matches!(ending, Ending::Failed(_))).count().to_string();
    let skipped = cases.iter().filter(|(_, ending)| matches!(ending, Ending::Skipped(_))).count().to_string();
    let (count, title) = (cases.len().to_string(), clean(report.title()));
    let (seconds, moment) = (format!("{:.3}", report.measured.elapsed.as_secs_f64()), utc(report.started));
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let totals =
        [("tests", count.as_str()), ("failures", failed.as_str()), ("skipped", skipped.as_str()), ("errors", "0")];
    writer
        .create_element("testsuites")
        .with_attribute(("name", "igris-load"))
        .with_attributes(totals)
        .write_inner_content(|writer| {
            let about =
                [("name", title.as_str()), ("time", seconds.as_str()), ("timestamp", moment.trim_end_matches('Z'))];
            let suite = writer.create_element("testsuite").with_attributes(about).with_attributes(totals);
            suite
                .write_inner_content(|writer| cases.iter().try_for_each(|(name, ending)| case(writer, name, ending)))?;
            Ok(())
        })?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn cases(report: &Report) -> Vec<(String, Ending)> {
    let mut cases = vec![("stamp".to_owned(), stamp(report)), ("requests".to_owned(), requests(report))];
    if !report.plan.objectives.is_empty() {
        cases.push(("objectives".to_owned(), objectives(report)));
    }
    for judged in &report.thresholds {
        let ending =
            if judged.held { Ending::Passed(judged.says.clone()) } else { Ending::Failed(judged.says.clone()) };
        cases.push((judged.threshold.clone(), ending));
    }
    cases
}

fn stamp(report: &Report) -> Ending {
    let text = report.stamp.to_string();
    if report.stamp.is_invalid() { Ending::Failed(text) } else { Ending::Passed(text) }
}

fn requests(report: &Report) -> Ending {
    let counts: Vec<_> = report.outcomes().map(|(outcome, count)| format!("{} {count}", outcome.name())).collect();
    let text = [vec![counts.join(", ")], report.measured.failures.clone()].concat().join("\n");
    if report.is_success() {
        Ending::Passed(text)
    } else if tolerates_failures(&report.thresholds) {
        Ending::Skipped(format!("a threshold judges failures: {text}"))
    } else {
        Ending::Failed(text)
    }
}

/// Objectives fail with the bound on goodput, and only where there is one.
fn objectives(report: &Report) -> Ending {
    let bounds: Vec<_> = report.plan.objectives.iter().map(ToString::to_string).collect();
    let share = report.measured.goodput().unwrap_or(0.0) * 100.0;
    let text = format!("{share:.2} % of {} planned requests hold {}", report.measured.planned, bounds.join(" "));
    let about_goodput = |text: &str| text.parse::<Threshold>().is_ok_and(|known| known.is_about_goodput());
    match report.thresholds.iter().find(|judged| about_goodput(&judged.threshold)) {
        Some(judged) if judged.held => Ending::Passed(text),
        Some(_) => Ending::Failed(text),
        None => Ending::Skipped(format!("{text}; bound it with --threshold 'goodput>99%'")),
    }
}

fn case(writer: &mut Writer<Vec<u8>>, name: &str, ending: &Ending) -> io::Result<()> {
    let name = clean(name);
    let case =
        writer.create_element("testcase").with_attributes([("classname", "igris-load"), ("name", name.as_str())]);
    case.write_inner_content(|writer| {
        let (element, text) = match ending {
            Ending::Passed(text) => ("system-out", text),
            Ending::Skipped(text) => ("skipped", text),
            Ending::Failed(text) => ("failure", text),
        };
        let text = clean(text);
        let first = text.lines().next().unwrap_or_default().to_owned();
        let element = writer.create_element(element);
        let element = match ending {
            Ending::Passed(_) => element,
            _ => element.with_attribute(("message", first.as_str())),
        };
        element.write_text_content(BytesText::new(&text))?;
        Ok(())
    })?;
    Ok(())
}

/// Words without letters that XML 1.0 cannot hold at all.
fn clean(text: &str) -> String {
    let holds = |letter: char| matches!(letter, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|letter| if holds(letter) { letter } else { '\u{fffd}' }).collect()
}
