/**
 * The tabular data sets of density estimation, prepared as for Masked autoregressive flow (Papamakarios, Pavlakou and Murray
 * 2017; appendix D, and the data sets' code published with it, github.com/gpapamak/maf), which all later flows use. The files
 * are those of its published archive (zenodo.org/records/1161203).
 *
 * Each gives `{ train, validation, test }`. A tenth is held out for testing, and a tenth of the rest for validation, from the
 * end. Shuffle and noise have another generator than NumPy's, so that rows are other ones than in that code.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { uniforms } from "../../shared/random.mjs";
import { readCsv } from "./csv.mjs";
import { readHdf5 } from "./hdf5.mjs";
import { readNpyTable } from "./npy.mjs";
import { filterRows, moments, shuffled, slice, stack, standardised, table, takeColumns } from "./table.mjs";

/** Values of a continuous feature do not recur; those that do more often than this mark one that is not. */
const RECURRENCES = 5;

const MAF = {
  /**
   * Household power: rows shuffled; global reactive power (column 1) and global intensity (3) removed; uniform noise of a
   * unit of the last digit, but on the time of day; standardised by training and validation rows.
   */
  power: {
    files: [["power/data.npy"]],
    load: ([file]) => {
      const uniform = uniforms(42);
      const kept = takeColumns(shuffled(readNpyTable(file), uniform), [0, 2, 4, 5, 6, 7]);
      const noise = [0.001, 0.01, 1, 1, 1, 0];
      const noisy = kept.values.map((value, i) => value + noise[i % 6] * uniform());
      return standardisedParts(split(table(noisy, 6)));
    },
  },
  /**
   * Gas sensors, ethylene and CO, 19 columns: the time and both concentrations (0 to 2) removed; of sensors that correlate by
   * more than 0.98 the first is removed, until there are none; standardised as a whole, by n − 1; not shuffled.
   */
  gas: {
    files: [["gas/data.npy"], ["gas/ethylene_CO.npy"], ["gas/ethylene_CO.csv"], ["gas/data.csv"]],
    load: ([file]) => {
      const read = file.endsWith(".npy") ? readNpyTable(file) : readCsv(file, { header: true });
      let data = takeColumns(
        read,
        range(read.columns).filter((column) => read.columns < 19 || column > 2),
      );
      for (;;) {
        const first = correlated(data, 0.98);
        if (first === undefined) break;
        data = takeColumns(
          data,
          range(data.columns).filter((column) => column !== first),
        );
      }
      const { mean, deviation } = moments(data);
      const unbiased = Math.sqrt(data.rows / (data.rows - 1));
      return split(standardised(data, { mean, deviation: deviation.map((value) => value * unbiased) }));
    },
  },
  /**
   * HEPMASS, mass 1000, two files with the class first: the positive class; standardised by all training rows, by n − 1;
   * features whose least value recurs more than five times removed; validation is a tenth of the training file. The test
   * file has a column more, the last one, which is dropped.
   */
  hepmass: {
    files: [["hepmass/1000_train.csv", "hepmass/1000_test.csv"]],
    load: ([trainFile, testFile]) => {
      const all = readCsv(trainFile, { header: true });
      const positive = (data) => {
        const ones = filterRows(data, (at) => at(0) === 1);
        return takeColumns(ones, range(all.columns).slice(1));
      };
      const train = positive(all);
      const { mean, deviation } = moments(train);
      const scale = { mean, deviation: deviation.map((value) => value * Math.sqrt(train.rows / (train.rows - 1))) };
      const whole = standardised(train, scale);
      const continuous = continuousColumns(whole);
      const kept = takeColumns(whole, continuous);
      const validation = Math.floor(0.1 * kept.rows);
      return {
        train: slice(kept, 0, kept.rows - validation),
        validation: slice(kept, kept.rows - validation, kept.rows),
        test: takeColumns(
          standardised(positive(readCsv(testFile, { header: true, width: all.columns })), scale),
          continuous,
        ),
      };
    },
  },
  /**
   * MiniBooNE, electron neutrinos: published with its outliers (first column below −100) and features whose least value
   * recurs more than five times removed, 43 of 50 columns being left; where all 50 are there, that is done here. Standardised by
   * training and validation rows.
   */
  miniboone: {
    files: [["miniboone/data.npy"]],
    load: ([file]) => {
      const read = readNpyTable(file);
      if (read.columns !== 50) return standardisedParts(split(read));
      const inside = filterRows(read, (at) => at(0) >= -100);
      return standardisedParts(split(takeColumns(inside, continuousColumns(inside))));
    },
  },
  /** Patches of 8 × 8 pixels, dequantised, without their mean and last pixel: published as they are used. */
  bsds300: {
    files: [["BSDS300/BSDS300.hdf5"]],
    load: async ([file]) => {
      const { train, validation, test } = await readHdf5(file, ["train", "validation", "test"]);
      return { train, validation, test };
    },
  },
};

/** A data set of a folder; undefined where its files are not there. */
export function loadMaf(folder, name) {
  const { files, load } = MAF[name];
  const there = files.map((paths) => paths.map((path) => join(folder, path))).find((paths) => paths.every(existsSync));
  return there && load(there);
}

function split(data) {
  const test = Math.floor(0.1 * data.rows);
  const validation = Math.floor(0.1 * (data.rows - test));
  const train = data.rows - test - validation;
  return {
    train: slice(data, 0, train),
    validation: slice(data, train, train + validation),
    test: slice(data, train + validation, data.rows),
  };
}

/** Parts standardised by the first two. */
function standardisedParts(parts) {
  const scale = moments(stack(parts.train, parts.validation));
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, standardised(part, scale)]));
}

/** The columns whose least value does not recur more than five times. */
function continuousColumns({ values, rows, columns }) {
  return range(columns).filter((column) => {
    let [least, count] = [Number.POSITIVE_INFINITY, 0];
    for (let row = 0; row < rows; row++) {
      const value = values[row * columns + column];
      if (value < least) [least, count] = [value, 0];
      if (value === least) count++;
    }
    return count <= RECURRENCES;
  });
}

/** The first column that correlates with another by more than a limit. */
function correlated(data, limit) {
  const { columns, rows } = data;
  const { values } = standardised(data, moments(data));
  return range(columns).find((i) =>
    range(columns).some((j) => {
      if (i === j) return false;
      let sum = 0;
      for (let row = 0; row < rows; row++) sum += values[row * columns + i] * values[row * columns + j];
      return sum / rows > limit;
    }),
  );
}

const range = (length) => Array.from({ length }, (_, i) => i);
