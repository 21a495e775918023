//! Proves that a released binary has none of the points where a test may kill it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Every fault point carries this text into the binary.
const MARKER: &[u8] = b"holdfast-fault-point";

/// An error unless the marker is in the one binary and not in the other. Without the first half
/// the second would hold of any file.
pub(crate) fn prove(released: &Path, faulty: &Path) -> Result<()> {
    if !has_marker(faulty)? {
        bail!("{} was built with fault points, yet has no marker of one", faulty.display());
    }
    if has_marker(released)? {
        bail!("{} has fault points", released.display());
    }
    Ok(())
}

fn has_marker(binary: &Path) -> Result<bool> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    Ok(bytes.windows(MARKER.len()).any(|window| window == MARKER))
}

#[cfg(test)]
mod tests {
    use super::{has_marker, prove};

    #[test]
    fn the_proof_can_fail() -> anyhow::Result<()> {
        // This test's own binary carries the marker, as it stands in this file.
        let marked = std::env::current_exe()?;
        let clean = std::path::Path::new("/dev/null");
        assert!(has_marker(&marked)?);
        assert!(prove(clean, &marked).is_ok());
        assert!(prove(&marked, &marked).is_err());
        assert!(prove(clean, clean).is_err());
        Ok(())
    }
}
