// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart

import (
	"fmt"
	"strings"
)

// A Line is a series of points in the order of X.
type Line struct {
	Name   string
	Color  int
	Points []Point
}

// A Point is a value at a place. Where an axis is logarithmic, it has to be positive.
type Point struct{ X, Y float64 }

// mostDots is how many points of a line are marked; beyond, they would hide it.
const mostDots = 16

// Lines draws series over two axes. xTitle and yTitle name what is on them.
func Lines(width float64, title, xTitle, yTitle string, xScale, yScale Scale, lines []Line) string {
	d := &drawing{width: width}
	const left, right, plot = 64.0, 30.0, 240.0
	top := d.legend(lines) + 34
	x, y := axis{Scale: xScale, from: left, to: width - right}, axis{Scale: yScale, from: top + plot, to: top}
	var xs, ys []float64
	for _, l := range lines {
		for _, p := range l.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	x.exactly(xs)
	y.around(ys)
	d.text(0, top-10, "note", yTitle)
	for _, v := range y.ticks(20) {
		d.line(left, y.at(v), width-right, y.at(v), "grid")
		d.text(left-8, y.at(v)+4, "tick end", yScale.Format(v))
	}
	for _, v := range x.ticks(44) {
		d.line(x.at(v), top, x.at(v), top+plot, "grid")
		d.text(x.at(v), top+plot+16, "tick middle", xScale.Format(v))
	}
	for i := len(lines) - 1; i >= 0; i-- { // the first ends up on top
		l := lines[i]
		path := make([]string, len(l.Points))
		for j, p := range l.Points {
			path[j] = fmt.Sprintf("%.1f,%.1f", x.at(p.X), y.at(p.Y))
		}
		fmt.Fprintf(&d.Builder, `<polyline points="%s" class="%s line"/>`+"\n", strings.Join(path, " "), series(l.Color))
		for _, p := range l.Points {
			r := 3.0
			if len(l.Points) > mostDots {
				r = 1.5
			}
			d.dot(x.at(p.X), y.at(p.Y), r, series(l.Color)+" dot", fmt.Sprintf("%s, %s: %s", l.Name, xScale.Format(p.X), yScale.Format(p.Y)))
		}
	}
	d.text(left+(width-left-right)/2, top+plot+36, "note middle", xTitle)
	return d.svg(title, top+plot+44)
}

// legend names the lines above the plot and returns where it ends.
func (d *drawing) legend(lines []Line) (bottom float64) {
	x, y := 0.0, textSize
	for _, l := range lines {
		need := 20 + textWidth(l.Name) + 14
		if x > 0 && x+need-14 > d.width {
			x, y = 0, y+18
		}
		d.line(x, y-4, x+14, y-4, series(l.Color)+" line")
		d.text(x+20, y, "label", l.Name)
		x += need
	}
	return y
}
