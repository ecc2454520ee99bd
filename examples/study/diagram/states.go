// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"strings"
)

// states draws boxes on a grid and arrows between neighbours:
//
//	good ID COLUMN ROW LABEL   a box, from 0 0; also note and bad
//	ID -> ID: LABEL            in the same row or the same column; both directions may exist
func states(c *canvas, lines []string) error {
	type state struct {
		class, label string
		col, row     int
	}
	type arrow struct{ from, to, label string }
	all := make(map[string]state)
	var order []string
	var arrows []arrow
	cols, rows := 0, 0
	for _, line := range lines {
		head, label, _ := strings.Cut(line, ": ")
		if fields := strings.Fields(head); len(fields) == 3 && fields[1] == "->" {
			arrows = append(arrows, arrow{fields[0], fields[2], label})
			continue
		}
		var s state
		var id string
		if n, err := fmt.Sscanf(line, "%s %s %d %d", &s.class, &id, &s.col, &s.row); n != 4 {
			return fmt.Errorf("no state: %q: %w", line, err)
		}
		s.label = strings.SplitN(line, " ", 5)[4]
		if s.class == "note" {
			s.class = "box"
		}
		all[id] = s
		order = append(order, id)
		cols, rows = max(cols, s.col+1), max(rows, s.row+1)
	}
	for _, a := range arrows {
		from, to := all[a.from], all[a.to]
		if from.label == "" || to.label == "" || (from.col != to.col) == (from.row != to.row) {
			return fmt.Errorf("no arrow can be drawn from %q to %q", a.from, a.to)
		}
	}

	width := make([]float64, cols) // of the boxes in a column
	gap := make([]float64, cols)   // to its right, for the labels of arrows
	for _, s := range all {
		width[s.col] = max(width[s.col], textWidth(s.label)+28)
	}
	for _, a := range arrows {
		from, to := all[a.from], all[a.to]
		if from.row == to.row {
			left := min(from.col, to.col)
			gap[left] = max(gap[left], textWidth(a.label)+36)
		} else { // beside a vertical arrow
			gap[from.col] = max(gap[from.col], textWidth(a.label)+30-width[from.col]/2)
		}
	}
	const tall, down = 40, 62
	left := make([]float64, cols)
	x := float64(margin)
	for i := range left {
		left[i] = x
		x += width[i] + gap[i]
	}
	top := func(row int) float64 { return 2*margin + 14 + float64(row)*(tall+down) }

	for _, a := range arrows {
		from, to := all[a.from], all[a.to]
		shift := 0.0 // two arrows between the same states run beside each other
		for _, b := range arrows {
			if b.from == a.to && b.to == a.from {
				shift = 9
			}
		}
		if from.row == to.row {
			y, above := top(from.row)+tall/2, -11.0
			x1, x2 := left[from.col]+width[from.col], left[to.col]
			y -= shift
			if from.col > to.col {
				x1, x2 = left[from.col], left[to.col]+width[to.col]
				y += 2 * shift
				above = -above
			}
			c.arrow(x1, y, x2, y)
			c.text((x1+x2)/2, y+above, "middle", "label", a.label)
			continue
		}
		x := left[from.col] + width[from.col]/2
		y1, y2, up := top(from.row)+tall, top(to.row), from.row > to.row
		if up {
			y1, y2 = top(from.row), top(to.row)+tall
		}
		switch {
		case shift == 0:
			c.text(x+10, (y1+y2)/2, "start", "label", a.label)
		case up:
			x -= shift
			c.text(x-10, (y1+y2)/2, "end", "label", a.label)
		default:
			x += shift
			c.text(x+10, (y1+y2)/2, "start", "label", a.label)
		}
		c.arrow(x, y1, x, y2)
	}
	for _, id := range order {
		s := all[id]
		c.box(left[s.col], top(s.row), width[s.col], tall, s.class, s.label)
	}
	return nil
}
