//! The medians as a picture: for each figure, how many times better or worse than rethread each peer is.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::peers::Peer;
use crate::summary::Summary;

const ROW: u32 = 22;
const WIDTH: u32 = 1000;

pub fn draw(path: &Path, summary: &Summary) -> Result<(), Box<dyn Error>> {
    let rows: Vec<_> = summary.rows.iter().filter(|row| row.medians.contains_key(&Peer::Rethread)).collect();
    let height = ROW * rows.len() as u32 + 130;
    let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "Each rival's cost as a multiple of rethread's (right of 1: rethread is better)",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(190)
        .build_cartesian_2d((1e-3..1e5_f64).log_scale(), 0.0..count)?;
    let names: Vec<&str> = rows.iter().rev().map(|row| row.name).collect();
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len() * 2 + 1)
        .y_label_formatter(&|at| {
            let between = (at.fract() - 0.5).abs() < 1e-6;
            if between {
                names.get(*at as usize).map_or_else(String::new, |name| (*name).into())
            } else {
                String::new()
            }
        })
        .x_label_formatter(&|ratio| format!("{ratio}"))
        .draw()?;
    chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, count)], BLACK.stroke_width(2)))?;
    for (index, peer) in Peer::ALL.iter().enumerate().filter(|(_, peer)| **peer != Peer::Rethread) {
        let colour = Palette99::pick(index).to_rgba();
        let points = rows.iter().rev().enumerate().filter_map(|(line, row)| {
            let ratio = row.ratio(*peer, Peer::Rethread)?;
            (ratio.is_finite() && ratio > 0.0).then_some((ratio.clamp(1e-3, 1e5), line as f64 + 0.5))
        });
        chart
            .draw_series(points.map(|point| Circle::new(point, 5, colour.mix(0.8).filled())))?
            .label(peer.name())
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
