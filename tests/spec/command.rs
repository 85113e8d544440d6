//! `ops check` as a shell sees it: exit code, stdout, stderr.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{EXAMPLE, GOOD};

/// Writes the texts as `0.ops.yaml`, `1.ops.yaml`, ...
fn files(texts: &[&[u8]]) -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let paths = (0..texts.len()).map(|i| dir.path().join(format!("{i}.ops.yaml"))).collect::<Vec<_>>();
    for (path, text) in paths.iter().zip(texts) {
        fs::write(path, text).unwrap();
    }
    (dir, paths)
}

fn check(flags: &[&str], paths: &[PathBuf]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ops")).arg("check").args(flags).args(paths).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn good_files_give_their_ids_and_exit_0() {
    let (_dir, paths) = files(&[EXAMPLE.as_bytes(), GOOD.as_bytes()]);
    let output = check(&[], &paths);
    assert_eq!(text(&output.stdout), "DCA_Luggage_Scanner\nsvc\n");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn an_error_exits_1_and_shows_its_place_without_colour() {
    let broken = GOOD.replace("page", "pgae");
    let (_dir, paths) = files(&[EXAMPLE.as_bytes(), broken.as_bytes()]);
    let output = check(&[], &paths);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "DCA_Luggage_Scanner\n"));
    let shown = text(&output.stderr);
    assert!(shown.contains("1.ops.yaml:17:11: error: unknown verb `pgae`"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_warning_exits_0() {
    let (_dir, paths) = files(&[GOOD.replace("page channel=ops", "rollback deploy").as_bytes()]);
    let output = check(&[], &paths);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "svc\n"));
    assert!(text(&output.stderr).contains("warning: no step of the playbook pages anybody"));
}

#[test]
fn what_cannot_be_read_exits_2_and_the_rest_is_still_checked() {
    let (dir, mut paths) = files(&[EXAMPLE.as_bytes()]);
    paths.insert(0, dir.path().join("missing"));
    let output = check(&[], &paths);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), "DCA_Luggage_Scanner\n"));
    assert!(text(&output.stderr).contains("cannot read"), "{output:?}");
    assert_eq!(check(&[], &[]).status.code(), Some(2));
}

#[test]
fn findings_as_json_are_one_a_line_on_stdout() {
    let (_dir, paths) = files(&[b"id: a\n\xff", GOOD.replace("page", "pgae").as_bytes(), EXAMPLE.as_bytes()]);
    let output = check(&["--json"], &paths);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["line"], &lines[0]["column"]), (&2.into(), &1.into()));
    assert_eq!(lines[1]["severity"], "error");
    assert_eq!((&lines[1]["line"], &lines[1]["column"]), (&17.into(), &11.into()));
    assert_eq!(lines[1]["help"], "did you mean `page`?");
}

#[test]
fn explain_tells_the_story_on_stdout() {
    let (_dir, paths) = files(&[EXAMPLE.as_bytes()]);
    let output = check(&["--explain"], &paths);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("page channel tsa_ops (critical)"));
}
