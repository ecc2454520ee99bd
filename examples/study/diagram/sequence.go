// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"strings"
)

// sequence draws actors side by side and, downwards, what passes between them:
//
//	actor ID LABEL
//	ID -> ID: LABEL     an arrow
//	ID -x ID: LABEL     one that does not arrive
//	note ID: LABEL      a box on the actor's line; good ID and bad ID are coloured ones
//	pause LABEL         time passes
func sequence(c *canvas, lines []string) error {
	type actor struct {
		id, label string
		x         float64
	}
	var actors []*actor
	find := func(id string) (*actor, int, error) {
		for i, a := range actors {
			if a.id == id {
				return a, i, nil
			}
		}
		return nil, 0, fmt.Errorf("no actor %q", id)
	}
	type step struct {
		kind, label string
		from, to    int
	}
	var steps []step
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		head, label, _ := strings.Cut(line, ": ")
		switch fields := strings.Fields(head); {
		case word == "actor":
			id, label, _ := strings.Cut(rest, " ")
			actors = append(actors, &actor{id: id, label: label})
		case word == "pause":
			steps = append(steps, step{kind: word, label: rest})
		case len(fields) == 2 && (word == "note" || word == "good" || word == "bad"):
			_, i, err := find(fields[1])
			if err != nil {
				return err
			}
			steps = append(steps, step{word, label, i, i})
		case len(fields) == 3 && (fields[1] == "->" || fields[1] == "-x"):
			_, from, err := find(fields[0])
			if err != nil {
				return err
			}
			_, to, err := find(fields[2])
			if err != nil {
				return err
			}
			steps = append(steps, step{fields[1], label, from, to})
		default:
			return fmt.Errorf("no step of a sequence: %q", line)
		}
	}

	// Each gap between neighbours is as wide as the widest text that has to fit: half a box on either side, an arrow's
	// label between them.
	half := make([]float64, len(actors)) // of the widest box on each line
	for i, a := range actors {
		half[i] = textWidth(a.label)/2 + 10
	}
	for _, s := range steps {
		if s.kind == "note" || s.kind == "good" || s.kind == "bad" {
			half[s.from] = max(half[s.from], textWidth(s.label)/2+10)
		}
	}
	x := float64(margin)
	for i, a := range actors {
		if i == 0 {
			x += half[0]
		} else {
			gap := half[i-1] + half[i] + 24
			for _, s := range steps {
				if min(s.from, s.to) == i-1 && max(s.from, s.to) == i {
					gap = max(gap, textWidth(s.label)+44)
				}
			}
			x += gap
		}
		a.x = x
	}

	top := float64(2*margin + 12)
	y := top + boxHeight + 14
	var shapes []func()
	for _, s := range steps {
		switch s.kind {
		case "pause":
			at, left := y+4, actors[0].x
			w := max(actors[len(actors)-1].x-left, textWidth(s.label)+20)
			shapes = append(shapes, func() { c.box(left, at, w, boxHeight-6, "pause", s.label) })
			y += boxHeight + 8
		case "->", "-x":
			from, to, at := actors[s.from].x, actors[s.to].x, y+lineHeight+4
			shapes = append(shapes, func() {
				c.text((from+to)/2, at-11, "middle", "label", s.label)
				if s.kind == "-x" {
					to = from + (to-from)*0.8
					c.cross(to, at)
				}
				c.arrow(from, at, to, at)
			})
			y = at + 12
		default:
			class, at, w := s.kind, y, textWidth(s.label)+20
			if class == "note" {
				class = "box"
			}
			shapes = append(shapes, func() { c.box(actors[s.from].x-w/2, at, w, boxHeight-4, class, s.label) })
			y += boxHeight + 6
		}
	}
	for _, a := range actors {
		w := textWidth(a.label) + 20
		c.line(a.x, top+boxHeight, a.x, y, "life")
		c.box(a.x-w/2, top, w, boxHeight, "box", a.label)
	}
	for _, draw := range shapes {
		draw()
	}
	return nil
}
