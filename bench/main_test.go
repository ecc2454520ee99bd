// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/scenario"
)

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "bench")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// bench runs the program in the repository's root.
func bench(t *testing.T, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	return benchIn(t, "..", args...)
}

func benchIn(t *testing.T, dir string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		require.NoError(t, err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // in the one line
	}{
		{[]string{"-servers", "reactor,apache"}, `invalid value "reactor,apache" for flag -servers: no server is called "apache", want all or some of reactor,`},
		{[]string{"-servers", ""}, `invalid value "" for flag -servers: no server is called ""`},
		{[]string{"-scenarios", "ekko"}, `invalid value "ekko" for flag -scenarios: no scenario is called "ekko", want list, all or some of echo,`},
		{[]string{"-conns", "0"}, `invalid value "0" for flag -conns: want a whole number from 1 to 15000`},
		{[]string{"-conns", "many"}, `invalid value "many" for flag -conns: want a whole number`},
		{[]string{"-size", "-1"}, `invalid value "-1" for flag -size: `},
		{[]string{"-size", "64QiB"}, `invalid value "64QiB" for flag -size: `},
		{[]string{"-size", "2", "-scenarios", "frames"}, `invalid value "2" for flag -size: frames takes messages of 4 to 1048576 bytes`},
		{[]string{"-scenarios", "udp", "-size", "1MiB"}, `for flag -size: udp takes messages of 1 to 65507 bytes`},
		{[]string{"-depth", "0"}, `invalid value "0" for flag -depth: want a whole number from 1 to 1024`},
		{[]string{"-duration", "3"}, `invalid value "3" for flag -duration: want a duration from 1ms to 1h0m0s, like 300ms or 3s`},
		{[]string{"-warmup", "-1s"}, `invalid value "-1s" for flag -warmup: want a duration from 0s`},
		{[]string{"-rounds", "0"}, `invalid value "0" for flag -rounds: want a whole number from 1 to 1000`},
		{[]string{"-rate", "-5"}, `invalid value "-5" for flag -rate: want a number from 0`},
		{[]string{"-rate", "NaN"}, `invalid value "NaN" for flag -rate: want a number from 0`},
		{[]string{"-loops", "0"}, `invalid value "0" for flag -loops: want a whole number from 1 to 1024`},
		{[]string{"-seed", "x"}, `invalid value "x" for flag -seed: want a whole number`},
		{[]string{"-json", "/no/such/folder/x.json"}, `invalid value "/no/such/folder/x.json" for flag -json: `},
		{[]string{"-html", ""}, `invalid value "" for flag -html: open : no such file or directory, want a file that can be written`},
		{[]string{"-json", "../same", "-html", "../same"}, `invalid value "../same" for flag -html: -json goes there, want another file`},
		{[]string{"-quiet=perhaps"}, `invalid boolean value "perhaps" for -quiet: want true or false`},
		{[]string{"-fast"}, `flag provided but not defined: -fast, want one of those that bench -h lists`},
		{[]string{"-rounds"}, `flag needs an argument: -rounds`},
		{[]string{"echo"}, `unexpected argument "echo", want flags only`},
	} {
		stdout, stderr, exit := bench(t, c.args...)
		name := fmt.Sprint(c.args)
		assert.Equal(t, exitUsage, exit, name)
		assert.Empty(t, stdout, name)
		assert.True(t, strings.HasPrefix(stderr, "bench: "), stderr)
		assert.Contains(t, stderr, c.want, name)
		assert.Equal(t, 1, strings.Count(stderr, "\n"), "one line: %s", stderr)
	}
}

func TestHelp(t *testing.T) {
	stdout, stderr, exit := bench(t, "-h")
	assert.Zero(t, exit)
	assert.Empty(t, stderr)
	for _, flag := range []string{"servers", "scenarios", "conns", "size", "depth", "duration", "warmup", "rounds", "rate", "loops", "json", "html", "quiet"} {
		assert.Contains(t, stdout, "\n  -"+flag, flag)
	}
}

func TestScenariosList(t *testing.T) {
	stdout, stderr, exit := benchIn(t, t.TempDir(), "-scenarios", "list")
	assert.Zero(t, exit)
	assert.Empty(t, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, len(scenario.All))
	for i, s := range scenario.All {
		assert.True(t, strings.HasPrefix(lines[i], s.Name+" "), lines[i])
		assert.Contains(t, lines[i], s.Sentence)
	}
}

func TestElsewhereThereIsNothingToBuild(t *testing.T) {
	stdout, stderr, exit := benchIn(t, t.TempDir())
	assert.Equal(t, exitFailed, exit)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "want to be started in the repository's root")
	assert.Equal(t, 1, strings.Count(stderr, "\n"))
}

// measured runs a comparison that is only good for looking at its form. One with a round for which the machine stood still
// is none.
func measured(t *testing.T, args ...string) (run *record.Run, stdout string, exit int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "run.json")
	for range 5 {
		var stderr string
		stdout, stderr, exit = bench(t, append([]string{"-duration", "200ms", "-warmup", "20ms", "-conns", "6", "-json", file}, args...)...)
		require.Empty(t, stderr, "the progress bar vanishes on a pipe")
		var err error
		run, err = record.ReadFile(file)
		require.NoError(t, err)
		if !slices.ContainsFunc(run.Results, func(r record.Result) bool {
			return slices.ContainsFunc(r.Rounds, func(round record.Round) bool { return round.Messages+round.Errors+round.Mismatches == 0 })
		}) {
			break
		}
	}
	return run, stdout, exit
}

func TestARunIsRecordedWhole(t *testing.T) {
	t.Parallel()
	run, stdout, exit := measured(t, "-rounds", "2", "-servers", "reactor,goroutine", "-seed", "5")
	assert.Zero(t, exit, stdout)
	assert.EqualValues(t, 5, run.Rig.Seed)
	assert.Contains(t, stdout, "seed 5")
	assert.Equal(t, runtime.Version(), run.Rig.Go)
	assert.Positive(t, run.Rig.CPUs)
	assert.Positive(t, run.Rig.Loops)
	assert.False(t, run.Rig.Time.IsZero())
	require.Len(t, run.Results, 4, "echo and frames, two servers")
	for _, r := range run.Results {
		name := r.Scenario + "/" + r.Server
		assert.Equal(t, 6, r.Conns, name)
		assert.Nil(t, r.Survived, name)
		require.Len(t, r.Rounds, 2, name)
		for _, round := range r.Rounds {
			assert.Zero(t, round.Errors+round.Mismatches, "%s: %v", name, round.Failures)
			assert.Positive(t, round.Messages, name)
			assert.Positive(t, round.Seconds, name)
			require.NotNil(t, round.MessagesPerSecond, name)
			require.NotNil(t, round.Latency.P50, name)
			require.NotNil(t, round.Latency.Max, name)
			assert.LessOrEqual(t, *round.Latency.P50, *round.Latency.Max, name)
			assert.NotNil(t, round.GeneratorBusy, name)
			assert.NotEmpty(t, round.Spectrum, name)
			assert.Nil(t, round.RSSPerConn, "six connections say nothing about memory")
			if runtime.GOOS == "linux" {
				require.NotNil(t, round.CPU, name)
				assert.Positive(t, *round.CPU, name)
				assert.NotNil(t, round.RSS, name)
				assert.NotNil(t, round.Switches, name)
			}
		}
		assert.NotEqual(t, r.Rounds[0].Order, -1)
	}
	assert.Len(t, run.Comparisons, 2*len(record.Metrics))
	for _, c := range run.Comparisons {
		assert.Equal(t, "reactor", c.Server)
		assert.Equal(t, "goroutine", c.Baseline)
		assert.True(t, c.Undecided(), "two rounds bound nothing")
	}
	for _, check := range []string{"steal", "throttling", "clock", "generator", "answers"} {
		assert.Contains(t, stdout, check)
	}
}

// serversOf lists the running programs that the benchmark has built in a folder.
func serversOf(t *testing.T, dir string) (pids []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	for _, link := range all {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, dir) && strings.Contains(exe, "target") {
			pids = append(pids, filepath.Dir(link))
		}
	}
	return pids
}

// busy says that a server has used some CPU time, hundredths of a second: it is being asked.
func busy(proc string) bool {
	text, _ := os.ReadFile(filepath.Join(proc, "stat"))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return false
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user+system >= 10
}

// crowded says that a server has many connections.
func crowded(proc string) bool {
	files, _ := os.ReadDir(filepath.Join(proc, "fd"))
	return len(files) > 100
}

// started starts a benchmark whose temporary files are in dir, and returns when its server is at work.
func started(t *testing.T, dir string, works func(proc string) bool, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("processes are looked for in /proc")
	}
	cmd = exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "TMPDIR="+dir)
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return slices.ContainsFunc(serversOf(t, dir), works) }, time.Minute, time.Millisecond, "no server works")
	return cmd, stdout, stderr
}

// A run that is interrupted while it builds the servers says no more than that, and leaves nothing behind.
func TestInterruptedBuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "TMPDIR="+dir)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { left, _ := os.ReadDir(dir); return len(left) > 0 }, time.Minute, time.Millisecond, "nothing is built")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	assert.Error(t, cmd.Wait())
	assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	assert.Equal(t, "bench: interrupted\n", stderr.String())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// An interrupted run ends long before its round would, shows what there is, and leaves nothing behind. The signal may
// come twice, as that of timeout(1) does.
func TestInterrupted(t *testing.T) {
	for _, name := range []string{"echo", "broadcast", "churn", "idle", "udp", "slow", "half-close", "emfile"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			works, warmup := busy, "0s"
			if name == "idle" {
				works, warmup = crowded, "1h"
			}
			cmd, stdout, stderr := started(t, dir, works, "-servers", "reactor", "-scenarios", name, "-conns", "101", "-warmup", warmup, "-duration", "1h")
			for range 2 {
				require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			}
			assert.Error(t, cmd.Wait())
			assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
			assert.Equal(t, "bench: interrupted\n", stderr.String())
			assert.Contains(t, stdout.String(), name+": 101 connections")
			assert.Empty(t, serversOf(t, dir))
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

// A benchmark that is killed cannot stop its server; the system does.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd, _, _ := started(t, dir, busy, "-servers", "reactor", "-scenarios", "echo", "-conns", "6", "-duration", "1h")
	require.NoError(t, cmd.Process.Kill())
	assert.Error(t, cmd.Wait())
	assert.Eventually(t, func() bool { return len(serversOf(t, dir)) == 0 }, time.Minute, time.Millisecond)
}

// If a server that flips a bit passed, so would anything.
func TestALiarIsFoundOut(t *testing.T) {
	t.Parallel()
	run, stdout, exit := measured(t, "-rounds", "1", "-servers", "reactor,liar", "-scenarios", "all")
	assert.Equal(t, exitFailed, exit)
	assert.Contains(t, stdout, "WARN  answers")
	require.NotEmpty(t, run.Results)
	for _, r := range run.Results {
		name := r.Scenario + "/" + r.Server
		require.Len(t, r.Rounds, 1, name)
		round := r.Rounds[0]
		if r.Server == "liar" {
			assert.Positive(t, round.Mismatches, name)
			assert.NotEqual(t, new(true), r.Survived, name)
			continue
		}
		assert.Zero(t, round.Mismatches+round.Errors, "%s: %v", name, round.Failures)
		if r.Scenario != "slow" { // where a second is too late, which a busy machine may take
			assert.NotEqual(t, new(false), r.Survived, name)
		}
	}
}

func TestWhatAServerCannotDoIsSaidAndNotZero(t *testing.T) {
	t.Parallel()
	run, stdout, exit := measured(t, "-rounds", "1", "-servers", "goroutine,gnet-batch", "-scenarios", "push", "-quiet")
	assert.Zero(t, exit)
	assert.Empty(t, run.Results[1].Rounds)
	assert.Equal(t, "is gnet in everything but frames and fixed", run.Results[1].Reason)
	for _, c := range run.Comparisons {
		assert.Nil(t, c.Ratio)
	}
	assert.True(t, strings.HasPrefix(stdout, "push: "), "quiet is the tables only: %s", stdout)
	assert.NotContains(t, stdout, "answers")
}

func TestExit(t *testing.T) {
	yes, no := true, false
	wrong, missing, fine := []record.Round{{Mismatches: 1}}, []record.Round{{}, {Errors: 1}}, []record.Round{{}}
	for name, c := range map[string]struct {
		result record.Result
		failed bool
	}{
		"right":                 {record.Result{Server: "gnet", Rounds: fine}, false},
		"wrong":                 {record.Result{Server: "gnet", Rounds: wrong}, true},
		"missing":               {record.Result{Server: "gnet", Rounds: missing}, true},
		"another died":          {record.Result{Server: "gnet", Survived: &no, Rounds: missing}, false},
		"the reactor died":      {record.Result{Server: "reactor", Survived: &no, Rounds: fine}, true},
		"the reactor was wrong": {record.Result{Server: "reactor", Survived: &yes, Rounds: wrong}, true},
		"the reactor lives":     {record.Result{Server: "reactor", Survived: &yes, Rounds: fine}, false},
		"not put to it":         {record.Result{Server: "gnet", Rounds: []record.Round{}}, false},
	} {
		assert.Equal(t, c.failed, failed(&record.Run{Results: []record.Result{c.result}}), name)
	}
}

// What servers that are not this project's do not survive is their score, and no reason to doubt the run.
func TestChecksCountWhatCounts(t *testing.T) {
	yes, no := true, false
	for want, c := range map[string]struct {
		result record.Result
		ok     bool
	}{
		"every byte of every answer was right":                                 {record.Result{Server: "reactor", Survived: &yes, Rounds: []record.Round{{}}}, true},
		"every byte of every answer was right, but for what 1 did not survive": {record.Result{Server: "gnet", Survived: &no, Rounds: []record.Round{{Errors: 3}}}, true},
		"slow/reactor: 0 wrong, 3 missing (late)":                              {record.Result{Scenario: "slow", Server: "reactor", Survived: &no, Rounds: []record.Round{{Errors: 3, Failures: []string{"late"}}}}, false},
		"echo/gnet: 2 wrong, 0 missing (x)":                                    {record.Result{Scenario: "echo", Server: "gnet", Rounds: []record.Round{{Mismatches: 2, Failures: []string{"x"}}}}, false},
	} {
		assert.Equal(t, record.Check{Name: "answers", OK: c.ok, Text: want}, errorCheck([]record.Result{c.result}))
	}
	busy := 0.99
	large := record.Result{Scenario: "large", Server: "gnet", Rounds: []record.Round{{GeneratorBusy: &busy}}}
	assert.Contains(t, generatorCheck([]record.Result{large, large}).Text, "with large/gnet it may be", "both cases are one")
}

func TestWithoutGoNothingIsBuilt(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(program)
	cmd.Dir, cmd.Env = "..", []string{"PATH=" + dir, "TMPDIR=" + dir}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Equal(t, exitFailed, cmd.ProcessState.ExitCode())
	assert.Equal(t, "bench: building ./bench/target in .: it takes the go command: exec: \"go\": executable file not found in $PATH\n", string(out))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// The order of the servers is drawn from the seed, so that a run can be repeated, and differs from round to round.
func TestOrderIsShuffledBySeed(t *testing.T) {
	t.Parallel()
	order := func(seed string) (places []int) {
		run, _, _ := measured(t, "-rounds", "4", "-servers", "reactor,goroutine", "-scenarios", "echo", "-duration", "5ms", "-warmup", "0s", "-seed", seed)
		for _, r := range run.Results[0].Rounds {
			places = append(places, r.Order)
		}
		return places
	}
	first := order("3")
	assert.Equal(t, first, order("3"))
	assert.Contains(t, first, 0)
	assert.Contains(t, first, 1)
}
