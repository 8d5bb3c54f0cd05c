//! The tests of `scripts/fakes/fakeserver`, which the local platforms share, are Python's and run with the others.

use std::path::Path;
use std::process::Command;

#[test]
fn what_the_local_platforms_share_passes_its_tests() {
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fakes");
    // -I: no package of the user gets in. -B: nothing is compiled into the checkout.
    let output = Command::new("python3")
        .args(["-I", "-B", "-m", "unittest", "discover", "--top-level-directory"])
        .arg(&fakes)
        .arg("--start-directory")
        .arg(fakes.join("tests"))
        .output()
        .expect("python3 starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    // Python 3.11 finds no tests and succeeds.
    assert!(!told.contains("Ran 0 tests"), "{told}");
}
