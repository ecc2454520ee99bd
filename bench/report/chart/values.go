// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package chart

// A Value is a row of Values. Low and High bound it; nil if they are not known.
type Value struct {
	Label     string
	Color     int
	Value     float64
	Low, High *float64
}

// Values draws rows of values from 0.
func Values(width float64, title string, scale Scale, values []Value) string {
	const row, bar = 26.0, 14.0
	d := &drawing{width: width}
	const left, right = 92.0, 76.0
	x := axis{Scale: scale, from: left, to: width - right}
	var all []float64
	for _, v := range values {
		all = append(all, v.Value)
		if v.High != nil {
			all = append(all, *v.High)
		}
	}
	x.around(all)
	height := row * float64(len(values))
	for _, v := range x.ticks(52) {
		d.line(x.at(v), 0, x.at(v), height, "grid")
		d.text(x.at(v), height+15, "tick middle", scale.Format(v))
	}
	for i, v := range values {
		middle := row * (float64(i) + 0.5)
		d.text(left-8, middle+4, "label end", v.Label)
		d.rect(x.at(0), middle-bar/2, x.at(v.Value), middle+bar/2, series(v.Color)+" bar", v.Label+": "+scale.Format(v.Value))
		end := v.Value
		if v.Low != nil && v.High != nil {
			d.whisker(x.at(*v.Low), x.at(*v.High), middle)
			end = max(end, *v.High)
		}
		d.text(x.at(end)+8, middle+4, "value", scale.Format(v.Value))
	}
	return d.svg(title, height+22)
}
