// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"
)

// Programs are the built programs of servers.
type Programs struct {
	dir      string
	paths    map[string]string // by server
	Built    []Built
	Versions map[string]string // by server: what is measured, and its version
	Revision string            // of the repository, where the build recorded it
}

// Built says how long the programs of a module took.
type Built struct {
	Module  string // its folder
	Seconds float64
	Rivals  bool // of other libraries, in a nested module
}

// Build builds what the servers need, all with the same flags: go build's defaults. root is the repository's root.
func Build(ctx context.Context, root string, servers []Server) (*Programs, error) {
	dir, err := os.MkdirTemp("", "quartet-bench-")
	if err != nil {
		return nil, err
	}
	p := &Programs{dir: dir, paths: make(map[string]string), Versions: make(map[string]string)}
	made := make(map[string]string)
	for _, s := range servers {
		key := s.Dir + " " + s.Package
		if made[key] == "" {
			start := time.Now()
			made[key] = filepath.Join(dir, fmt.Sprintf("target%d", len(made)))
			if err := build(ctx, filepath.Join(root, s.Dir), s.Package, made[key]); err != nil {
				p.Remove()
				return nil, fmt.Errorf("building %s in %s: %w", s.Package, s.Dir, err)
			}
			p.Built = append(p.Built, Built{s.Dir, time.Since(start).Seconds(), s.Dir != own})
		}
		p.paths[s.Name] = made[key]
		p.Versions[s.Name] = p.version(made[key], s.Library)
	}
	return p, nil
}

// outputKept is how much of what a failing program said is shown.
const outputKept = 2 << 10

func build(ctx context.Context, dir, pkg, out string) error {
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir = dir
	// What it leaves behind if it ends before it handles signals goes with what is built.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOTMPDIR="+filepath.Dir(out))
	// Asked to, it ends its compilers.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	text, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("it takes the go command: %w", err)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(text[:min(len(text), outputKept)]))
	}
	return nil
}

// version returns the version of a library in a built program.
func (p *Programs) version(path, library string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if r := settings["vcs.revision"]; r != "" && info.Main.Path == "github.com/quartet-go/quartet" {
		p.Revision = r
		if settings["vcs.modified"] == "true" {
			p.Revision += " and changes"
		}
	}
	if library == "std" {
		return info.GoVersion
	}
	if info.Main.Path == library {
		return "this repository"
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == library })
	if i < 0 {
		return ""
	}
	return library + " " + info.Deps[i].Version
}

// Remove deletes the programs.
func (p *Programs) Remove() { _ = os.RemoveAll(p.dir) }

// Root finds the repository's root from the current directory, which has to be it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "bench", "target", "main.go")); err != nil {
		return "", errors.New("there is no bench/target here, want to be started in the repository's root, to build the servers")
	}
	return dir, nil
}
