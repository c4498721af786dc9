//! Whole data sets, written small.
use std::fs;

use super::{testing::*, *};

fn message(manifest: &Manifest, dir: &Path) -> String {
    read(manifest, dir).unwrap_err().to_string().replace(&dir.display().to_string(), "DIR")
}

#[test]
fn idx_files_are_read_plain_and_compressed() {
    let (dir, manifest) = (tempfile::tempdir().unwrap(), tiny_idx());
    let folder = dir.path().join("tiny");
    write_tiny_idx(&folder);
    let plain = read(&manifest, dir.path()).unwrap();
    assert_eq!((plain[0].images.rows(), plain[1].images.rows()), (6, 3));
    assert_eq!((plain[0].images.row(4), plain[1].images.row(2)), (&[40; 6][..], &[120; 6][..]));
    assert_eq!(plain[0].labels, [0, 1, 2, 0, 1, 2]);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        fs::write(format!("{}.gz", path.display()), gzip(&fs::read(&path).unwrap())).unwrap();
        fs::remove_file(path).unwrap();
    }
    assert_eq!(read(&manifest, dir.path()).unwrap(), plain);
}

#[test]
fn records_folders_and_zip_files_hold_the_same_images() {
    let (dir, manifest) = (tempfile::tempdir().unwrap(), tiny_cifar());
    write_tiny_cifar(dir.path());
    let [train, test] = read(&manifest, dir.path()).unwrap();
    assert_eq!((train.labels, test.labels), (vec![0, 1, 2, 0, 1, 2], vec![0, 1, 2]));
    assert_eq!(train.images.row(4), tiny_planes(4));
    fs::remove_dir_all(dir.path().join("bin")).unwrap();

    // In folders the order is that of the classes.
    for (path, bytes) in tiny_folders() {
        let path = dir.path().join("tiny/tiny").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let folders = read(&manifest, dir.path()).unwrap();
    assert_eq!(folders[0].labels, [0, 0, 1, 1, 2, 2]);
    for (row, i) in [0, 3, 1, 4, 2, 5].into_iter().enumerate() {
        assert_eq!(folders[0].images.row(row), tiny_planes(i));
    }
    assert_eq!(folders[1].images.values(), test.images.values());

    fs::remove_dir_all(dir.path().join("tiny")).unwrap();
    let files = tiny_folders();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(dir.path().join("tiny.zip"), zip(&files)).unwrap();
    assert_eq!(read(&manifest, dir.path()).unwrap(), folders);
}

#[test]
fn missing_data_says_how_to_get_it() {
    let (dir, manifest) = (tempfile::tempdir().unwrap(), tiny_idx());
    assert_eq!(
        message(&manifest, dir.path()),
        "Tiny is not there: no train-images in DIR/tiny; run kiln data fetch tiny, or set KILN_DATA_DIR to a folder \
         that has it"
    );
    write_tiny_idx(&dir.path().join("tiny"));
    fs::remove_file(dir.path().join("tiny/test-labels")).unwrap();
    assert!(message(&manifest, dir.path()).starts_with("Tiny is not there: no test-labels in DIR/tiny; run"));
}

/// Real data: every file is what its manifest says, and the numbers of the manifest are those of the images.
#[test]
fn real_data_is_read() {
    for name in ["mnist", "cifar10"] {
        let manifest = Manifest::named(name).unwrap();
        let [train, test] = match read(manifest, &crate::data_dir()) {
            Ok(read) => read,
            Err(missing @ ReadError::Missing { .. }) => {
                let strict = std::env::var_os("KILN_TEST_STRICT").is_some_and(|value| value == "1");
                assert!(!strict || std::env::var_os("KILN_DATA_DIR").is_none(), "{missing}");
                eprintln!("skipped: {missing}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!((train.images.rows(), test.images.rows()), (manifest.train, manifest.test));
        let plane = manifest.shape[1] * manifest.shape[2];
        for channel in 0..manifest.shape[0] {
            let values =
                || (0..manifest.train).flat_map(|i| &train.images.row(i)[channel * plane..(channel + 1) * plane]);
            let count = (manifest.train * plane) as f64;
            let mean = values().map(|byte| f64::from(*byte)).sum::<f64>() / count / 255.0;
            let variance = values().map(|byte| (f64::from(*byte) / 255.0 - mean).powi(2)).sum::<f64>() / count;
            // JPEG moves them a little; otherwise they are given to four digits.
            let close = |found: f64, stated: f32| (found - f64::from(stated)).abs() < 2e-3;
            assert!(close(mean, manifest.mean[channel]), "{name}: mean {mean} of channel {channel}");
            assert!(
                close(variance.sqrt(), manifest.std[channel]),
                "{name}: std {} of channel {channel}",
                variance.sqrt()
            );
        }
    }
}
