// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package report

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/quartet-go/quartet/bench/record"
)

const usage = `Usage: go run ./bench report [flags] FILE...

Compares the runs that -json recorded over time; shows a single one again.

`

// ErrUsage is wrapped by what Command returns for a wrong command line.
var ErrUsage = errors.New("report")

// Command is `bench report`: it reads recorded runs and writes what its flags say, or a comparison over time to out.
func Command(args []string, out io.Writer) error {
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	html := f.String("html", "", "write a page to `file`")
	markdown := f.String("markdown", "", "write a document to `file`, its charts beside the recorded runs in a folder charts")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(out, usage)
		f.SetOutput(out)
		f.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case f.NArg() == 0:
		return fmt.Errorf("%w: no file is named, want what -json wrote", ErrUsage)
	}
	var runs []*record.Run
	for _, name := range f.Args() {
		run, err := record.ReadFile(name)
		if err != nil {
			return err
		}
		runs = append(runs, run)
	}
	if *html == "" && *markdown == "" {
		return OverTime(out, runs...)
	}
	var errs []error
	if *html != "" {
		errs = append(errs, create(*html, func(w io.Writer) error { return HTML(w, runs...) }))
	}
	if *markdown != "" {
		errs = append(errs, document(*markdown, filepath.Join(filepath.Dir(f.Arg(0)), "charts"), runs))
	}
	return errors.Join(errs...)
}

// document writes the document and its charts, and removes the charts of the last one.
func document(name, charts string, runs []*record.Run) error {
	folder, err := filepath.Rel(filepath.Dir(name), charts)
	if err != nil {
		return err
	}
	text, drawings, err := Markdown(filepath.ToSlash(folder), runs...)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(charts, "*.svg"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(charts, 0o777); err != nil {
		return err
	}
	for file, svg := range drawings {
		if err := os.WriteFile(filepath.Join(charts, file), []byte(svg), 0o666); err != nil {
			return err
		}
	}
	return os.WriteFile(name, []byte(text), 0o666)
}

func create(name string, to func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(to(f), f.Close())
}
