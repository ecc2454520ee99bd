// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// A Progress is a bar on a terminal, and nothing on anything else. It is one line that is written over; libraries for
// this bring more than it needs.
type Progress struct {
	out   *os.File // nil for nothing
	total int
	done  int
	start time.Time
}

const barWidth = 30

// NewProgress returns a bar of total steps on a file, if that is a terminal.
func NewProgress(f *os.File, total int, quiet bool) *Progress {
	p := &Progress{total: total, start: time.Now()}
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 && !quiet {
		p.out = f
	}
	return p
}

// Step says what is going on now, and that everything before it is done.
func (p *Progress) Step(what string) {
	if p.out == nil {
		return
	}
	filled := barWidth * p.done / max(p.total, 1)
	left := ""
	if p.done > 0 {
		each := time.Since(p.start) / time.Duration(p.done)
		left = fmt.Sprintf(", %v left", (each * time.Duration(p.total-p.done)).Round(time.Second))
	}
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s%s %d/%d %s%s", strings.Repeat("█", filled), strings.Repeat("░", barWidth-filled), p.done, p.total, what, left)
	p.done++
}

// Clear removes the bar.
func (p *Progress) Clear() {
	if p.out != nil {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
