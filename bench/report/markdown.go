// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"fmt"
	"path"
	"strings"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report/chart"
)

// Markdown returns a document on the runs, and the charts that it shows, by the name of their file. folder is where
// they are, from the document.
func Markdown(folder string, runs ...*record.Run) (text string, charts map[string]string, err error) {
	v := newView(runs)
	if len(v.cases) == 0 {
		return "", nil, errNothing
	}
	m := &markdown{folder: folder, charts: make(map[string]string)}
	m.line("# Benchmarks")
	m.line("<!-- Generated from the recorded runs by `go run ./bench report -markdown`. Do not edit. -->")
	if n := v.Warnings(); n > 0 {
		warn := "warn"
		if n == 1 {
			warn = "warns"
		}
		m.line("**%d of the checks that the benchmark makes of itself %s; see [rig and checks](#rig-and-checks).**", n, warn)
	}
	if tiles := v.Tiles(); len(tiles) > 0 {
		m.line("CPU time of `%s` for each message, divided by that of each other server; below 1 it takes less. %s.", v.First(), v.Headline())
		g := [][]string{{"", "ratio", "interval"}}
		for _, t := range tiles {
			mark := ""
			if t.Undecided {
				mark = " " + undecided
			}
			g = append(g, []string{t.Baseline, t.Ratio + mark, t.Interval})
		}
		m.table(toRight, g)
	}
	if s := v.Survival(); s != nil {
		m.line("## Who survives")
		g := [][]string{append([]string{""}, s.Scenarios...)}
		for _, row := range s.Rows {
			cells := []string{row.Server}
			for _, verdict := range row.Verdicts {
				cell := verdict.Text
				if verdict.Reason != "" {
					cell += ": " + verdict.Reason
				}
				cells = append(cells, cell)
			}
			g = append(g, cells)
		}
		m.table(toLeft, g)
	}
	m.figures("Side by side", v.Ratios())
	m.figures("Latency", v.Spectra())
	m.figures("Memory for each connection", v.Memory())
	m.figures("As the work grows", v.Sweeps())
	m.line("## All figures")
	m.line("Medians over the rounds. first/this is the figure of `%s` divided by this server's within each round: the median, and where it lies at 95 %%; %s where it cannot be told from 1.", v.First(), undecided)
	for _, t := range v.Tables() {
		m.line("### %s", t.Title)
		m.line("%d %s.", t.Rounds, plural(t.Rounds, "round"))
		m.table(toRight, append([][]string{t.Header}, t.Rows...))
		for _, note := range t.Notes {
			m.line("%s", escape(note))
		}
	}
	m.line("## Rig and checks")
	for _, r := range v.Rigs() {
		g := [][]string{{"", ""}}
		for _, p := range r.Properties {
			g = append(g, []string{p.Name, p.Value})
		}
		for _, c := range r.Checks {
			mark := "ok"
			if !c.OK {
				mark = "**warns**"
			}
			g = append(g, []string{"check: " + c.Name, mark + ", " + c.Text})
		}
		m.table(toLeft, g)
	}
	m.line("## Method")
	for _, c := range method {
		m.line("### %s", c.Title)
		for _, p := range c.Paragraphs {
			m.line("%s", p)
		}
	}
	return strings.TrimSpace(m.String()) + "\n", m.charts, nil
}

// A markdown is a document in the making.
type markdown struct {
	strings.Builder
	folder string
	charts map[string]string
}

// line writes a block of its own.
func (m *markdown) line(format string, args ...any) { fmt.Fprintf(&m.Builder, format+"\n\n", args...) }

func (m *markdown) figures(title string, figures []figure) {
	if len(figures) == 0 {
		return
	}
	m.line("## %s", title)
	for _, f := range figures {
		name := f.Name + ".svg"
		m.charts[name] = chart.Standalone(f.Wide)
		m.line("### %s", f.Title)
		m.line("![%s](%s)", f.Title, path.Join(m.folder, name))
		if f.Text != "" {
			m.line("%s", f.Text)
		}
	}
}

// What a table's columns other than the first are aligned to.
const toLeft, toRight = " --- |", " ---: |"

func (m *markdown) table(align string, grid [][]string) {
	for i, row := range grid {
		for _, cell := range row {
			fmt.Fprintf(&m.Builder, "| %s ", escape(cell))
		}
		m.WriteString("|\n")
		if i == 0 {
			m.WriteString("|" + toLeft + strings.Repeat(align, len(row)-1) + "\n")
		}
	}
	m.WriteByte('\n')
}

// escape keeps text from being taken for markup.
func escape(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "~", `\~`, "\n", " ").Replace(s)
}
