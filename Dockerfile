# JupyterLab on the notebooks, with the pinned versions, without a network once it is built:
#   docker build -t diffgauss . && docker run --rm -p 127.0.0.1:8888:8888 diffgauss
FROM python:3.13-slim
RUN useradd --create-home --uid 1000 reader
USER reader
WORKDIR /home/reader/diffgauss
COPY --chown=reader . .
ENV PATH="/home/reader/env/bin:${PATH}"
RUN python3 -m venv /home/reader/env
RUN pip install --no-cache-dir --disable-pip-version-check -q -c constraints.txt -e '.[lab]'
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "notebooks"]
