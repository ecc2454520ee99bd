// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report/chart"
	"github.com/quartet-go/quartet/bench/stats"
)

// A view is what the page and the document show of some runs: the same tables and charts.
type view struct {
	Runs    []*record.Run // the oldest first
	Servers []string      // in the order of the newest run, then of those before; it is that of their colours
	cases   []measured    // of each case, as last measured
}

// measured is a case as one run has measured it.
type measured struct {
	run     *record.Run
	results []record.Result // one for each server
	sweep   bool            // it is one of several that differ in one number only
}

func newView(runs []*record.Run) *view {
	v := &view{Runs: slices.Clone(runs)}
	slices.SortStableFunc(v.Runs, func(a, b *record.Run) int { return a.Rig.Time.Compare(b.Rig.Time) })
	for _, run := range slices.Backward(v.Runs) {
		for i := range run.Results {
			if server := run.Results[i].Server; !slices.Contains(v.Servers, server) {
				v.Servers = append(v.Servers, server)
			}
		}
	}
	for _, run := range v.Runs {
		for _, m := range casesOf(run) {
			same := func(old measured) bool { return sameCase(&old.results[0], &m.results[0]) }
			if i := slices.IndexFunc(v.cases, same); i >= 0 {
				v.cases[i] = m
			} else {
				v.cases = append(v.cases, m)
			}
		}
	}
	v.markSweeps()
	return v
}

// casesOf divides the results of a run into its cases.
func casesOf(run *record.Run) (list []measured) {
	for from := 0; from < len(run.Results); {
		to := from + 1
		for to < len(run.Results) && sameCase(&run.Results[from], &run.Results[to]) {
			to++
		}
		list = append(list, measured{run: run, results: run.Results[from:to]})
		from = to
	}
	return list
}

func (m *measured) title() string { return CaseTitle(&m.results[0]) }

func (m *measured) survival() bool {
	return slices.ContainsFunc(m.results, func(r record.Result) bool { return r.Survived != nil })
}

// grid is the case's table, its header and a row for each server.
func (m *measured) grid() [][]string { return grid(m.run, m.results) }

// notes is what there is to say about the table.
func (m *measured) notes() []string { return notes(m.results) }

// color is the place of a server's colour.
func (v *view) color(server string) int { return slices.Index(v.Servers, server) }

// A figure is a chart, in a width for a screen and one for a phone.
type figure struct {
	Name         string // of its file
	Title, Text  string
	Wide, Narrow string // SVG; Wide is as wide as the page, or half of it
	Half         bool
}

const (
	fullWidth   = 1000.0
	halfWidth   = 490.0
	narrowWidth = 350.0
)

func newFigure(name, title, text string, half bool, draw func(width float64) string) figure {
	f := figure{Name: name, Title: title, Text: text, Half: half, Wide: draw(fullWidth), Narrow: draw(narrowWidth)}
	if half {
		f.Wide = draw(halfWidth)
	}
	return f
}

// compared are the metrics that have a chart of ratios, of the cases with so many connections at least.
var compared = []struct {
	metric, name, title, less, more string
	conns                           int
}{
	{"server_cpu_ns_per_message", "ratio-cpu", "CPU time a message", "%s takes less CPU", "%s takes more", 0},
	{"messages_per_second", "ratio-throughput", "Messages a second", "%s does fewer", "%s does more", 0},
	{"server_syscalls_per_message", "ratio-calls", "System calls a message", "%s makes fewer calls", "%s makes more", 0},
	{"latency_ns.p99", "ratio-p99", "Latency, 99th percentile", "%s answers sooner", "%s answers later", 0},
	{"rss_bytes_per_connection", "ratio-memory", "Memory for each connection", "%s takes less memory", "%s takes more", manyConns},
}

// manyConns is how many it takes for memory to be theirs and not the program's, as in the table.
const manyConns = 1000

// Ratios are the charts of comparisons, one for a metric.
func (v *view) Ratios() (figures []figure) {
	for _, metric := range compared {
		var groups []chart.Group
		first := ""
		for i := range v.cases {
			m := &v.cases[i]
			if m.sweep || m.survival() || m.results[0].Conns < metric.conns {
				continue
			}
			g := chart.Group{Title: m.title()}
			for j := range m.results {
				c := comparison(m.run, &m.results[j], metric.metric)
				if c == nil || c.Ratio == nil || *c.Ratio <= 0 {
					continue
				}
				first = c.Server
				g.Ratios = append(g.Ratios, chart.Ratio{Label: c.Baseline, Color: v.color(c.Baseline), Value: *c.Ratio, Low: c.Low, High: c.High, Undecided: c.Undecided()})
			}
			if len(g.Ratios) > 0 {
				groups = append(groups, g)
			}
		}
		if len(groups) == 0 {
			continue
		}
		title := metric.title + ": " + first + " divided by each"
		figures = append(figures, newFigure(metric.name, title,
			"Medians over rounds of the ratio within a round; the whiskers hold it at 95 %. Grey, with ~: cannot be told from 1.", false,
			func(width float64) string {
				return chart.Ratios(width, title, fmt.Sprintf(metric.less, first), fmt.Sprintf(metric.more, first), groups)
			}))
	}
	return figures
}

// percents are where latency is drawn. Between recorded percentiles the next higher one holds.
var percents = []float64{0, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.975, 99.99, 99.995, 99.999}

// Spectra are the latency distributions of the cases that have them.
func (v *view) Spectra() (figures []figure) {
	for i := range v.cases {
		m := &v.cases[i]
		if m.sweep || m.survival() {
			continue
		}
		var lines []chart.Line
		for j := range m.results {
			if p := spectrum(&m.results[j]); len(p) > 1 {
				lines = append(lines, chart.Line{Name: m.results[j].Server, Color: v.color(m.results[j].Server), Points: p})
			}
		}
		if len(lines) == 0 {
			continue
		}
		x := chart.Scale{Format: func(x float64) string { return fmt.Sprintf("%.5g %%", 100-100*math.Pow(10, -x)) }}
		x.Ticks = []float64{0, -math.Log10(0.5), 1, 2, 3, 4, 5}
		y := chart.Scale{Log: true, Format: short(Duration)}
		title := "Latency, " + m.title()
		figures = append(figures, newFigure("latency-"+slug(m.title()), m.title(), "", true, func(width float64) string {
			return chart.Lines(width, title, "percentile of the answers", "latency", x, y, lines)
		}))
	}
	return figures
}

// spectrum is the median over rounds of the latency at each percentile that all of them have: with fewer at the end, it
// could fall.
func spectrum(r *record.Result) (points []chart.Point) {
	for _, percent := range percents {
		var sample []float64
		with := 0
		for i := range r.Rounds {
			s := r.Rounds[i].Spectrum
			if len(s) == 0 {
				continue
			}
			with++
			// The last, 100, says nothing of those before it: it is one message.
			at, _ := slices.BinarySearchFunc(s, percent, func(p record.Percentile, t float64) int { return cmp.Compare(p.Percent, t) })
			if at < len(s) && s[at].Percent < 100 && s[at].NS > 0 {
				sample = append(sample, float64(s[at].NS))
			}
		}
		if with > 0 && len(sample) == with {
			points = append(points, chart.Point{X: -math.Log10(1 - percent/100), Y: stats.Median(sample)})
		}
	}
	return points
}

// Memory is what a connection costs, of the cases whose work is to have connections.
func (v *view) Memory() (figures []figure) {
	metric, _ := record.MetricNamed("rss_bytes_per_connection")
	for i := range v.cases {
		m := &v.cases[i]
		if m.results[0].Scenario != "idle" && m.results[0].Scenario != "mixed" || m.sweep {
			continue
		}
		var values []chart.Value
		for j := range m.results {
			r := &m.results[j]
			if center := stats.Center(r, metric); center != nil {
				value := chart.Value{Label: r.Server, Color: v.color(r.Server), Value: *center}
				if low, high, ok := stats.Interval(sample(r, metric)); ok {
					value.Low, value.High = &low, &high
				}
				values = append(values, value)
			}
		}
		if len(values) == 0 {
			continue
		}
		title := "Resident memory for each connection, " + m.title()
		scale := chart.Scale{Format: short(size), Binary: true}
		figures = append(figures, newFigure("memory-"+slug(m.title()), m.title(), "", false, func(width float64) string {
			return chart.Values(width, title, scale, values)
		}))
	}
	return figures
}

// A verdict is how a server came out of a survival scenario.
type verdict struct {
	Text   string // yes, NO, or - if it was not put to it
	Reason string
}

// A survivalTable has a column for each scenario and a row for each server that was put to any.
type survivalTable struct {
	Scenarios []string
	Rows      []survivalRow
}

type survivalRow struct {
	Server   string
	Verdicts []verdict
}

// Survival says who survived what; nil if nobody was put to anything.
func (v *view) Survival() *survivalTable {
	t := &survivalTable{}
	for _, server := range v.Servers {
		t.Rows = append(t.Rows, survivalRow{Server: server})
	}
	for i := range v.cases {
		m := &v.cases[i]
		if !m.survival() {
			continue
		}
		t.Scenarios = append(t.Scenarios, m.results[0].Scenario)
		for row, server := range v.Servers {
			out := verdict{Text: unknown}
			if at := slices.IndexFunc(m.results, func(r record.Result) bool { return r.Server == server }); at >= 0 {
				out = verdict{survived(&m.results[at]), m.results[at].Reason}
			}
			t.Rows[row].Verdicts = append(t.Rows[row].Verdicts, out)
		}
	}
	if len(t.Scenarios) == 0 {
		return nil
	}
	t.Rows = slices.DeleteFunc(t.Rows, func(r survivalRow) bool {
		return !slices.ContainsFunc(r.Verdicts, func(v verdict) bool { return v.Text != unknown })
	})
	return t
}

func sample(r *record.Result, m record.Metric) (values []float64) {
	for i := range r.Rounds {
		if x := m.Of(&r.Rounds[i]); x != nil {
			values = append(values, *x)
		}
	}
	return values
}

// size writes bytes on an axis.
func size(v float64) string {
	if v >= 1<<10 && v < 10<<10 {
		return significant(v/(1<<10)) + " KiB"
	}
	return Bytes(v)
}

// short writes figures without zeros that say nothing.
func short(format func(float64) string) func(float64) string {
	return func(v float64) string {
		number, unit := format(v), ""
		if i := strings.IndexFunc(number, func(r rune) bool { return r != '.' && r != '-' && !unicode.IsDigit(r) }); i >= 0 {
			number, unit = number[:i], number[i:]
		}
		if strings.Contains(number, ".") {
			number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
		}
		return number + unit
	}
}

// slug makes a title part of a file's name.
func slug(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
}
