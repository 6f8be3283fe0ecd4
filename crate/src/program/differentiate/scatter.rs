//! Scatter-add: sums of parts, each of which covers some rows of a value.

use super::super::graph::{Graph, Id};
use super::zeros;

/// The sum of parts, each given with its first row, as a value of `rows` rows.
pub fn scatter_add(graph: &mut Graph, rows: usize, parts: &[(usize, Id)]) -> Id {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    let cuts = cuts(graph, parts);
    let cut = |row: usize| cuts.partition_point(|&cut| cut < row);
    let covered: usize = parts.iter().map(|&(start, part)| cut(start + graph.rows(part)) - cut(start)).sum();
    let pieces = match covered > 8 * parts.len() + 64 {
        true => merged(graph, &sorted),
        false => overlapping(graph, &sorted, summed),
    };
    let mut all = Vec::new();
    let mut row = 0;
    for (start, piece) in pieces {
        if start > row {
            all.push(zeros(graph, start - row));
        }
        row = start + graph.rows(piece);
        all.push(piece);
    }
    if row < rows {
        all.push(zeros(graph, rows - row));
    }
    graph.concat(all)
}

/// Where parts begin and end, in order.
fn cuts(graph: &Graph, parts: &[(usize, Id)]) -> Vec<usize> {
    let mut cuts: Vec<usize> = parts.iter().flat_map(|&(start, part)| [start, start + graph.rows(part)]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// Calls `sum` for the parts that overlap each other, directly or by others; they are sorted.
fn overlapping(
    graph: &mut Graph,
    parts: &[(usize, Id)],
    sum: impl Fn(&mut Graph, &[(usize, Id)]) -> Id,
) -> Vec<(usize, Id)> {
    let mut sums = Vec::new();
    let mut first = 0;
    while first < parts.len() {
        let mut end = parts[first].0 + graph.rows(parts[first].1);
        let mut last = first + 1;
        while last < parts.len() && parts[last].0 < end {
            end = end.max(parts[last].0 + graph.rows(parts[last].1));
            last += 1;
        }
        let all = &parts[first..last];
        sums.push((all[0].0, if all.len() == 1 { all[0].1 } else { sum(graph, all) }));
        first = last;
    }
    sums
}

/// The sum of parts that overlap each other: between two cuts, that of what covers them.
fn summed(graph: &mut Graph, parts: &[(usize, Id)]) -> Id {
    let cuts = cuts(graph, parts);
    let cut = |row: usize| cuts.partition_point(|&cut| cut < row);
    let mut sums: Vec<Option<Id>> = vec![None; cuts.len() - 1];
    for &(start, part) in parts {
        for index in cut(start)..cut(start + graph.rows(part)) {
            let piece = graph.slice(part, cuts[index] - start, cuts[index + 1] - cuts[index]);
            sums[index] = Some(sums[index].map_or(piece, |sum| graph.add(sum, piece)));
        }
    }
    graph.concat(sums.into_iter().map(|sum| sum.expect("parts that overlap leave no gap")).collect())
}

/// Sums of sorted parts that do not overlap any more: half and half, so that many long ones take few operations and few rows.
fn merged(graph: &mut Graph, parts: &[(usize, Id)]) -> Vec<(usize, Id)> {
    if parts.len() < 2 {
        return parts.to_vec();
    }
    let (left, right) = parts.split_at(parts.len() / 2);
    let mut both = merged(graph, left);
    both.extend(merged(graph, right));
    both.sort_unstable();
    overlapping(graph, &both, summed)
}
