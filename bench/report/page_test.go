// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report"
)

func page(t *testing.T, runs ...*record.Run) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, report.HTML(&b, runs...))
	return b.String()
}

func ids(html, element string) (list []string) {
	for _, m := range regexp.MustCompile(`<`+element+` id="([^"]+)"`).FindAllStringSubmatch(html, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestPage(t *testing.T) {
	html := page(t, sampleRun(1, 1))
	assert.Equal(t, []string{"survival", "ratios", "latency", "memory", "scale", "figures", "rig", "method"}, ids(html, "section"))
	assert.Equal(t, []string{
		"ratio-cpu", "ratio-throughput", "ratio-calls", "ratio-p99", "ratio-memory",
		"latency-echo-200-connections-64-b", "latency-frames-100-connections-64-b-16-in-flight", "latency-idle-10000-connections-64-b",
		"memory-idle-10000-connections-64-b",
		"scale-echo-connections-cpu", "scale-echo-connections-throughput", "scale-echo-connections-memory", "scale-echo-size-cpu", "scale-echo-size-throughput",
	}, ids(html, "figure"))
	assert.NotContains(t, html, "<invented>", "what is recorded is not markup")
	assert.Contains(t, html, "Sample CPU &lt;invented&gt;")
	assert.Contains(t, html, `<td class="v-NO"><b>fails</b><small>memory grew by 791 MiB in 2.0 s</small></td>`)
	assert.Contains(t, html, "1 of the checks that the benchmark makes of itself warns.")

	// Nothing comes from elsewhere.
	for _, reference := range regexp.MustCompile(`(src|href|url)\s*[=(]\s*["']?([^"' >)]+)`).FindAllStringSubmatch(html, -1) {
		assert.Regexp(t, `^#`, reference[2])
	}
	for _, word := range []string{"<script", "<link", "@import", "NaN", "ZgotmplZ"} {
		assert.NotContains(t, html, word)
	}
}

// A server that was put to no survival scenario has no row of dashes.
func TestSurvivalIsOfThoseWhoWerePutToIt(t *testing.T) {
	run := sampleRun(1, 1)
	for i := range run.Results {
		if r := &run.Results[i]; r.Server == "golf" {
			r.Survived = nil
		}
	}
	text, _, err := report.Markdown("charts", run)
	require.NoError(t, err)
	table, _, _ := strings.Cut(text[strings.Index(text, "## Who survives"):], "## Side")
	assert.Contains(t, table, "| foxtrot |")
	assert.NotContains(t, table, "golf")
}

// The page begins with the date and the machine of the newest run, whose figures stand in it.
func TestPageIsOfTheNewestRun(t *testing.T) {
	html := page(t, sampleRun(3, 1), sampleRun(2, 1), sampleRun(1, 1))
	assert.Regexp(t, `<p class="soft">2026-01-03 `, html)
}

func TestPageOfLittle(t *testing.T) {
	require.EqualError(t, report.HTML(new(bytes.Buffer)), "there are no results to report")
	lonely := &record.Run{Results: []record.Result{{Scenario: "echo", Server: "reactor", Conns: 1, Size: 1, Depth: 1, Reason: "it did not start"}}}
	html := page(t, lonely)
	assert.Equal(t, []string{"figures", "rig", "method"}, ids(html, "section"))
	assert.Contains(t, html, "reactor: it did not start")
}

// The last run to have measured a case stands for it; what both measured is shown over time.
func TestPageOfTwoRuns(t *testing.T) {
	html := page(t, sampleRun(2, 0.8), sampleRun(1, 1))
	assert.Contains(t, ids(html, "section"), "history")
	assert.Regexp(t, `<span>bravo</span><b>0.5\d</b>`, html)
}

func TestOverTime(t *testing.T) {
	short := func(day int, factor float64) *record.Run {
		run := sampleRun(day, factor)
		run.Results = run.Results[:3]
		return run
	}
	var b bytes.Buffer
	require.NoError(t, report.OverTime(&b, short(1, 1), short(3, 0.8), short(2, 1)))
	lines := strings.Split(b.String(), "\n")
	assert.Equal(t, "echo: 200 connections, 64 B", lines[0])
	assert.Regexp(t, `^  CPU a message +alpha +bravo +charlie$`, lines[1])
	for i, day := range []string{"01", "02", "03"} {
		assert.Regexp(t, `^  2026-01-`+day+` 12:00 01234567 ( +[\d.]+ µs){3}$`, lines[2+i])
	}
	assert.Regexp(t, `^  change +-\d\d\.\d % +~ +~$`, lines[5])
	assert.NotContains(t, b.String(), "different ways")

	other := short(4, 1)
	other.Rig.CPUs = 64
	b.Reset()
	require.NoError(t, report.OverTime(&b, short(1, 1), other))
	assert.Contains(t, b.String(), "different ways")

	b.Reset()
	require.NoError(t, report.OverTime(&b, short(1, 1)))
	assert.Contains(t, b.String(), "CPU first/this", "a single run is shown as it was")
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	results := filepath.Join(dir, "results")
	require.NoError(t, os.Mkdir(results, 0o777))
	var files []string
	for day := range 2 {
		var b bytes.Buffer
		require.NoError(t, sampleRun(day+1, 1).Write(&b))
		files = append(files, filepath.Join(results, strings.Repeat("x", day+1)+".json"))
		require.NoError(t, os.WriteFile(files[day], b.Bytes(), 0o666))
	}
	stale := filepath.Join(results, "charts", "stale.svg")
	require.NoError(t, os.Mkdir(filepath.Dir(stale), 0o777))
	require.NoError(t, os.WriteFile(stale, nil, 0o666))

	var out bytes.Buffer
	require.NoError(t, report.Command(files, &out))
	assert.Contains(t, out.String(), "change")

	document, page := filepath.Join(dir, "BENCHMARKS.md"), filepath.Join(dir, "page.html")
	require.NoError(t, report.Command(append([]string{"-markdown", document, "-html", page}, files...), &out))
	assert.FileExists(t, page)
	assert.NoFileExists(t, stale)
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	images := regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllSubmatch(text, -1)
	assert.Len(t, images, 14)
	for _, image := range images {
		assert.FileExists(t, filepath.Join(dir, string(image[1])))
	}

	for _, c := range []struct {
		args []string
		err  string
	}{
		{nil, "report: no file is named, want what -json wrote"},
		{[]string{"-pdf"}, "report: flag provided but not defined: -pdf"},
	} {
		err := report.Command(c.args, &out)
		require.ErrorIs(t, err, report.ErrUsage)
		assert.EqualError(t, err, c.err)
	}
	assert.ErrorContains(t, report.Command([]string{filepath.Join(dir, "none.json")}, &out), "none.json")
	assert.ErrorContains(t, report.Command([]string{document}, &out), "not the results of a run")
}

// BENCHMARKS.md is what the recorded runs say, no more and no less.
func TestDocumentIsThatOfTheResults(t *testing.T) {
	const root = "../.."
	files, err := filepath.Glob(filepath.Join(root, "bench", "results", "*.json"))
	require.NoError(t, err)
	if len(files) == 0 {
		assert.NoFileExists(t, filepath.Join(root, "BENCHMARKS.md"), "it has to come from recorded runs")
		return
	}
	var runs []*record.Run
	for _, file := range files {
		run, err := record.ReadFile(file)
		require.NoError(t, err)
		runs = append(runs, run)
	}
	text, charts, err := report.Markdown("bench/results/charts", runs...)
	require.NoError(t, err)
	const again = "run: go run ./bench report -markdown BENCHMARKS.md bench/results/*.json"
	same := func(want string, name ...string) {
		got, err := os.ReadFile(filepath.Join(append([]string{root}, name...)...))
		require.NoError(t, err, again)
		assert.True(t, want == string(got), "%v is out of date; %s", name, again)
	}
	same(text, "BENCHMARKS.md")
	for name, svg := range charts {
		same(svg, "bench", "results", "charts", name)
	}
	there, err := filepath.Glob(filepath.Join(root, "bench", "results", "charts", "*"))
	require.NoError(t, err)
	assert.Len(t, there, len(charts), again)
}
