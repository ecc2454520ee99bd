// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"strings"
)

// rows draws lengths below each other, bytes or moments, all to the same scale:
//
//	unit PIXELS
//	row LABEL
//	note START LENGTH LABEL   a box in the last row; also good and bad, and quiet: text alone
func rows(c *canvas, lines []string) error {
	unit, left := 10.0, 0.0
	for _, line := range lines {
		if label, ok := strings.CutPrefix(line, "row "); ok {
			left = max(left, textWidth(label))
		}
	}
	left += margin + 14
	y := float64(margin + 4)
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "unit":
			if _, err := fmt.Sscan(rest, &unit); err != nil {
				return fmt.Errorf("unit %q: %w", rest, err)
			}
		case "row":
			y += boxHeight + 10
			c.text(left-14, y+boxHeight/2, "end", "quiet", rest)
		case "note", "good", "bad", "quiet":
			var start, length float64
			if _, err := fmt.Sscan(rest, &start, &length); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			label := ""
			if fields := strings.SplitN(rest, " ", 3); len(fields) == 3 {
				label = fields[2]
			}
			x := left + start*unit
			if word == "quiet" {
				c.text(x, y+boxHeight/2, "start", "quiet", label)
				continue
			}
			if word == "note" {
				word = "box"
			}
			c.box(x+1, y, length*unit-2, boxHeight, word, label)
		default:
			return fmt.Errorf("no row: %q", line)
		}
	}
	return nil
}
