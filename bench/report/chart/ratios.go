// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart

import "fmt"

// A Ratio is a row of Ratios. Low and High bound it; nil if they are not known.
type Ratio struct {
	Label     string
	Color     int
	Value     float64
	Low, High *float64
	Undecided bool // the interval holds 1, or is not known
}

// A Group is rows under a title.
type Group struct {
	Title  string
	Ratios []Ratio
}

// Ratios draws how far ratios are from 1, on a logarithmic axis, with their intervals. less and more say what lies on
// either side of 1.
func Ratios(width float64, title, less, more string, groups []Group) string {
	const row, header, bar = 22.0, 30.0, 12.0
	d := &drawing{width: width}
	left, right := 92.0, 150.0
	if width < narrow {
		left, right = 76, 44
	}
	x := axis{Scale: Scale{Log: true, Ticks: []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10, 20, 50, 100}}, from: left, to: width - right}
	x.low, x.high = 0.7, 1.4
	height := 0.0
	for _, g := range groups {
		height += header + row*float64(len(g.Ratios))
		for _, r := range g.Ratios {
			x.low, x.high = min(x.low, r.Value/1.1), max(x.high, r.Value*1.1)
			if r.Low != nil && r.High != nil {
				x.low, x.high = min(x.low, max(*r.Low, 0.001)/1.05), max(x.high, *r.High*1.05)
			}
		}
	}
	for _, v := range x.ticks(34) {
		class := "grid"
		if v == 1 {
			class = "one"
		}
		d.line(x.at(v), header-6, x.at(v), height, class)
		d.text(x.at(v), height+15, "tick middle", fmt.Sprintf("%g×", v))
	}
	y := 0.0
	for _, g := range groups {
		d.text(0, y+header-10, "group", g.Title)
		y += header
		for _, r := range g.Ratios {
			middle := y + row/2
			value, text := fmt.Sprintf("%.2f", r.Value), ""
			if r.Low != nil && r.High != nil {
				text = fmt.Sprintf(" [%.2f, %.2f]", *r.Low, *r.High)
			}
			if r.Undecided {
				text += " ~"
			}
			class := series(r.Color)
			if r.Undecided {
				class += " undecided"
			}
			d.text(left-8, middle+4, "label end", r.Label)
			d.rect(x.at(1), middle-bar/2, x.at(r.Value), middle+bar/2, class+" bar", r.Label+": "+value+text)
			if r.Low != nil && r.High != nil {
				d.whisker(x.at(max(*r.Low, x.low)), x.at(*r.High), middle)
			}
			if width >= narrow {
				value += text
			} else if r.Undecided {
				value += " ~"
			}
			d.text(width-right+10, middle+4, "value", value)
			y += row
		}
	}
	if width >= narrow {
		d.text(x.at(1)-10, height+34, "note end", "← "+less)
		d.text(x.at(1)+10, height+34, "note", more+" →")
		return d.svg(title, height+42)
	}
	d.text(0, height+34, "note", "← "+less)
	d.text(0, height+50, "note", "→ "+more)
	return d.svg(title, height+58)
}
